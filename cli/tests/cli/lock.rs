//! `lockwright lock`: who runs when, what they find, and how they end.

use crate::played;
use crate::support::{
    Dir, LinesInTime, Server, code, eventually, json, lockwright, pid, run, said, stderr, stdout,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::Permissions,
    io::{BufRead, BufReader},
    os::unix::{fs::MetadataExt, fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// A lock that is held until it is ended; `dir` has a file `held` as soon as it is.
fn holder(server: &Server, dir: &Dir, args: &[&str]) -> Child {
    let mark = format!("touch {}; exec sleep 60", dir.path("held"));
    let mut command = server.lock(args);
    command
        .args(["--", "sh", "-c", &mark])
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    eventually("the lock is held", || dir.has("held"));
    child
}

fn is_alive(process: Pid) -> bool {
    // A zombie is dead, and waits for somebody to notice.
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:"));
    state.is_some_and(|state| !state.contains('Z') && !state.contains('X'))
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// A number that a script wrote into a file.
fn number<T: std::str::FromStr>(dir: &Dir, name: &str) -> T {
    let text = dir.read(name);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{name} has {text:?}"))
}

#[test]
fn the_exit_code_is_that_of_the_command() {
    let server = Server::in_memory();
    let exit = |command: &[&str]| {
        let output = server.lock(&["a", "--"]).args(command).output().unwrap();
        (code(&output), stderr(&output))
    };
    assert_eq!(exit(&["true"]), (0, String::new()));
    assert_eq!(exit(&["sh", "-c", "exit 7"]), (7, String::new()));
    assert_eq!(exit(&["sh", "-c", "kill -KILL $$"]), (137, String::new()));
    let (code, message) = exit(&["/no/such/command"]);
    assert!(
        code == 127 && message.contains("/no/such/command"),
        "{message}"
    );
    assert!(!message.contains("sh -c"), "{message}");
    assert_eq!(exit(&["/dev/null"]).0, 126);
    let (code, message) = exit(&["echo hi; ls /"]);
    assert!(code == 127 && message.contains("sh -c"), "{message}");
}

#[test]
fn the_command_finds_the_lock_in_its_environment() {
    let server = Server::in_memory();
    let script = "echo $LOCKWRIGHT_TOKEN; echo $LOCKWRIGHT_DEADLINE_UNIX_MS; \
                  echo $LOCKWRIGHT_SERVER; echo $LOCKWRIGHT_NAMESPACE; echo \"$LOCKWRIGHT_KEYS\"";
    let before = unix_ms();
    let args = [
        "--namespace",
        "n",
        "--abandon",
        "20s",
        "b/c",
        "a",
        "--",
        "sh",
        "-c",
        script,
    ];
    let output = server.lock(&args).output().unwrap();
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    let token: u64 = lines[0].parse().unwrap();
    let deadline: u64 = lines[1].parse().unwrap();
    assert!(token > 0);
    assert!(
        deadline > before && deadline <= unix_ms() + 20_000,
        "{deadline}"
    );
    assert_eq!(&lines[2..], [&server.address, "n", "b/c", "a"]);
    let again = server
        .lock(&["a", "--", "sh", "-c", "echo $LOCKWRIGHT_TOKEN"])
        .output();
    assert!(stdout(&again.unwrap()).trim().parse::<u64>().unwrap() > token);
}

#[test]
fn who_may_not_wait_is_told_that_it_is_busy() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &["tree"]);
    let exit = |args: &[&str]| code(&server.lock(args).args(["--", "true"]).output().unwrap());
    assert_eq!(exit(&["--try", "tree/leaf"]), 124);
    assert_eq!(exit(&["--try", "--read", "tree"]), 124);
    assert_eq!(exit(&["--wait", "50ms", "tree"]), 124);
    assert_eq!(exit(&["--try", "trees"]), 0);
    assert_eq!(exit(&["--try", "--namespace", "other", "tree"]), 0);
    kill(pid(&first), Signal::SIGTERM).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(143));
    // It was released, not abandoned: the session would live for another 30 s.
    assert_eq!(exit(&["--wait", "20s", "tree"]), 0);
}

#[test]
fn readers_share() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &["--read", "a"]);
    let exit = |args: &[&str]| code(&server.lock(args).args(["--", "true"]).output().unwrap());
    assert_eq!(exit(&["--try", "--read", "a"]), 0);
    assert_eq!(exit(&["--try", "a"]), 124);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn contenders_come_in_the_order_of_asking_and_never_together() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let script = format!(
        "mkdir {0} || echo together >>{1}; echo $LOCKWRIGHT_TOKEN >>{1}; sleep 0.05; rmdir {0}",
        dir.path("inside"),
        dir.path("log")
    );
    let contenders: Vec<Child> = (0..5)
        .map(|_| {
            server
                .lock(&["a", "--", "sh", "-c", &script])
                .spawn()
                .unwrap()
        })
        .collect();
    for mut contender in contenders {
        assert_eq!(contender.wait().unwrap().code(), Some(0));
    }
    let tokens = dir.read("log");
    let tokens: Vec<u64> = tokens
        .lines()
        .map(|line| line.parse().expect(line))
        .collect();
    assert_eq!(tokens.len(), 5);
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

/// The command starts a process in its group that ignores SIGTERM, and one outside of its group;
/// both write down the time as long as they live.
fn stubborn(dir: &Dir) -> String {
    let clock = |name: &str| {
        let (file, pid) = (dir.path(name), dir.path(&format!("{name}.pid")));
        format!("echo $$ >{pid}; while :; do date +%s%3N >{file}.new; mv {file}.new {file}; done")
    };
    let inside = dir.write("inside.sh", &format!("trap '' TERM; {}", clock("inside")));
    let outside = dir.write("outside.sh", &clock("outside"));
    format!("sh {inside} & setsid sh {outside} & wait; sleep 60")
}

#[test]
fn all_of_the_command_is_dead_before_the_lease_of_a_lost_lock_ends() {
    let lease_ms = 2_000;
    for args in [
        &["--abandon", "2s"][..],
        &["--abandon", "60s", "--ttl", "2s"],
    ] {
        let (server, dir) = (Server::in_memory(), Dir::new());
        let script = stubborn(&dir);
        let mut lock = server.lock(args);
        let child = lock.args(["a", "--", "sh", "-c", &script]).spawn().unwrap();
        eventually("it runs", || dir.has("inside") && dir.has("outside"));
        // Longer than the lease: it is renewed.
        let renewed = Instant::now();
        std::thread::sleep(Duration::from_millis(lease_ms + 500));
        assert!(renewed.elapsed() > Duration::from_millis(lease_ms));
        // From here on the server can hear nothing, so that the lease ends no later than this.
        server.signal(Signal::SIGSTOP);
        let lease_ends = unix_ms() + lease_ms;
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 123, "{}", stderr(&output));
        assert!(
            stderr(&output).contains("the lock is lost"),
            "{}",
            stderr(&output)
        );
        for name in ["inside", "outside"] {
            let process = Pid::from_raw(number(&dir, &format!("{name}.pid")));
            assert!(!is_alive(process), "{name} is alive");
            let last: u64 = number(&dir, name);
            assert!(
                last < lease_ends,
                "{name} was alive {} ms too long",
                last - lease_ends
            );
        }
        server.signal(Signal::SIGCONT);
    }
}

#[test]
fn a_command_that_ends_within_its_grace_may_clean_up() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let (ready, clean) = (dir.path("ready"), dir.path("clean"));
    let script = format!(
        "trap 'echo done >{clean}; exit 0' TERM; touch {ready}; while :; do sleep 0.01; done"
    );
    let args = [
        "--abandon",
        "4s",
        "--grace",
        "1500ms",
        "a",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let child = server.lock(&args).spawn().unwrap();
    eventually("it runs", || dir.has("ready"));
    server.signal(Signal::SIGKILL);
    assert_eq!(code(&child.wait_with_output().unwrap()), 123);
    assert_eq!(dir.read("clean"), "done\n");
}

/// What changes to root for good, as `sudo` does, when it is run by others. Only root can make
/// such a program, and it must be where others may run it.
fn becomes_root(dir: &Dir) -> Option<String> {
    let ours = std::fs::metadata(dir.path(".")).unwrap().uid();
    if ours != 0 || !Path::new("/usr/bin/setpriv").exists() {
        return None;
    }
    let program = dir.path("becomes-root");
    std::fs::copy("/usr/bin/setpriv", &program).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    Some(program)
}

#[test]
fn a_process_that_cannot_be_killed_is_told_of_at_once() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let Some(root) = becomes_root(&dir) else {
        eprintln!("left out: this test needs root, and setpriv");
        return;
    };
    let program = dir.path("lockwright");
    std::fs::copy(env!("CARGO_BIN_EXE_lockwright"), &program).unwrap();
    let held = dir.path("held");
    let script = format!("echo $$ >{held}.new; mv {held}.new {held}; exec sleep 300");
    let (said, mut child);
    {
        let mut lock = Command::new(&program);
        lock.args(["lock", "--server", &server.address, "a", "--", &root])
            .args([
                "--reuid=0",
                "--regid=0",
                "--clear-groups",
                "sh",
                "-c",
                &script,
            ])
            .uid(65_534)
            .stderr(Stdio::piped());
        child = lock.spawn().unwrap();
        said = child.stderr.take().unwrap();
    }
    eventually("it runs", || dir.has("held"));
    let process: i32 = number(&dir, "held");
    let lines = LinesInTime::of(said);
    kill(pid(&child), Signal::SIGUSR1).unwrap();
    let first = lines.line();
    // Its name is that of what it has come to run.
    let named = format!("process {process} (s");
    assert!(
        first.contains(&named) && first.contains("cannot be sent SIGUSR1"),
        "{first}"
    );
    run(&["break", "a", "--yes", "--server", &server.address]);
    // It is told while the process runs.
    let lost = lines.line();
    let told = lost.contains("cannot be sent SIGKILL") && lost.contains("broken");
    assert!(lost.contains(&named) && told, "{lost}");
    assert_eq!(child.try_wait().unwrap(), None);
    kill(Pid::from_raw(process), Signal::SIGKILL).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(123));
}

#[test]
fn a_server_that_forgets_ends_the_command() {
    let (mut server, dir) = (Server::in_memory(), Dir::new());
    let child = holder(&server, &dir, &["a"]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let start = Instant::now();
    let _anew = Server::start_on(&server.address, &["--memory"]);
    assert_eq!(code(&child.wait_with_output().unwrap()), 123);
    // It did not wait for its own deadline.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_command_whose_session_an_operator_ends_is_ended_and_told_so() {
    let dir = Dir::new();
    let mark = format!("touch {}; exec sleep 60", dir.path("held"));
    let held = dir.path("held");
    let ending = move || eventually("the command runs", || Path::new(&held).exists());
    let server = played::grants_and_ends_the_session(ending);
    let output = run(&["lock", "--server", &server, "a", "--", "sh", "-c", &mark]);
    let text = stderr(&output);
    assert_eq!(code(&output), 123, "{text}");
    assert!(text.contains("an operator ended the session"), "{text}");
}

#[test]
fn a_lock_outlives_a_restart_of_a_server_with_data() {
    let dir = Dir::new();
    let data = dir.path("data");
    let mut server = Server::start(&["--data", &data]);
    let mut child = holder(&server, &dir, &["a"]);
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let server = Server::start_on(&server.address, &["--data", &data]);
    eventually("the session goes on", || {
        said(&server, &["sessions", "--json"]).contains(r#""attached":true"#)
    });
    assert_eq!(child.try_wait().unwrap(), None);
    let busy = server.lock(&["--try", "a", "--", "true"]).output().unwrap();
    assert_eq!(code(&busy), 124);
    kill(pid(&child), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// Whether this process ignores a signal, and with it what it starts.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored & (1 << (signal as u64 - 1)) != 0
}

#[test]
fn signals_reach_the_command() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    for (signal, name) in [
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
    ] {
        // Whoever runs these tests in the background, or under nohup, has the command ignore it too.
        if is_ignored(signal) {
            continue;
        }
        let ready = format!("ready-{name}");
        let script = format!(
            "trap 'exit 9' {name}; touch {}; while :; do sleep 0.01; done",
            dir.path(&ready)
        );
        let mut child = server
            .lock(&["a", "--", "sh", "-c", &script])
            .spawn()
            .unwrap();
        eventually("it runs", || dir.has(&ready));
        kill(pid(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn whoever_is_told_to_end_while_waiting_leaves_the_queue() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &["a"]);
    let ran = dir.path("ran");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        if is_ignored(signal) {
            continue;
        }
        let mut waiting = server.lock(&["a", "--", "touch", &ran]).spawn().unwrap();
        let waits = || said(&server, &["ls", "--queued", "--json"]).contains(r#""state":"queued""#);
        eventually("it waits", waits);
        kill(pid(&waiting), signal).unwrap();
        assert_eq!(waiting.wait().unwrap().code(), Some(code), "{signal}");
        assert!(!waits(), "{signal}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!dir.has("ran"));
}

#[test]
fn a_lock_that_is_not_to_be_had_leaves_no_session_behind() {
    let server = Server::start(&["--memory", "--claims-per-request", "2"]);
    let dir = Dir::new();
    let mut first = holder(&server, &dir, &["a"]);
    let sessions = || said(&server, &["sessions", "--json"]).lines().count();
    assert_eq!(sessions(), 1);
    for (args, exit) in [
        (&["--try", "a"][..], 124),
        (&["--try", "--abandon", "1d", "a/b"], 124),
        (&["--wait", "50ms", "a"], 124),
        (&["--wait", "0s", "a"], 124),
        (&["--try", "-E", "0", "a"], 0),
        (&["x", "y", "z"], 125),
    ] {
        let output = server.lock(args).args(["--", "true"]).output().unwrap();
        assert_eq!(code(&output), exit, "{args:?}: {}", stderr(&output));
        assert_eq!(sessions(), 1, "{args:?}");
    }
    for (command, exit) in [("/no/such/command", 127), ("/dev/null", 126)] {
        let output = server.lock(&["b", "--", command]).output().unwrap();
        assert_eq!(code(&output), exit);
        assert_eq!(sessions(), 1, "{command}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_lock_that_may_have_been_granted_without_a_word_is_given_up() {
    let server = Server::in_memory();
    let way = played::tells_no_more_than_opened(&server.address);
    let started = Instant::now();
    let mut command = lockwright(&["lock", "--server", &way, "--connect-timeout", "1s"]);
    let command = command.args(["--abandon", "1d", "a", "--", "true"]);
    let output = command.output().unwrap();
    assert_eq!(code(&output), 125, "{}", stderr(&output));
    assert!(started.elapsed() < Duration::from_secs(20));
    // It was heard, and would be held for a day.
    let stats = said(&server, &["stats", "--json"]);
    assert_eq!(json(&stats)["remembered_requests"], 1, "{stats}");
    eventually("it has no session", || {
        said(&server, &["sessions", "--json"]).is_empty()
    });
    assert_eq!(said(&server, &["ls"]), "");
}

#[test]
fn the_command_dies_with_lockwright_and_the_lock_is_abandoned() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let script = format!(
        "echo $$ >{0}.new; mv {0}.new {0}; exec sleep 60",
        dir.path("pid")
    );
    let args = ["--abandon", "1s", "a", "--", "sh", "-c", &script];
    let mut child = server.lock(&args).spawn().unwrap();
    eventually("it runs", || dir.has("pid"));
    child.kill().unwrap();
    child.wait().unwrap();
    let command = Pid::from_raw(number(&dir, "pid"));
    eventually("the command is dead", || !is_alive(command));
    let next = server
        .lock(&["--wait", "20s", "a", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(code(&next), 0, "{}", stderr(&next));
}

#[test]
fn what_is_wrong_is_told_apart_from_the_command() {
    let server = Server::in_memory();
    assert_eq!(code(&run(&["lock"])), 125);
    assert_eq!(code(&run(&["lock", "a//b", "--", "true"])), 125);
    let grace = server
        .lock(&["--abandon", "1s", "--grace", "1s", "a", "--", "true"])
        .output();
    let grace = grace.unwrap();
    assert!(
        code(&grace) == 125 && stderr(&grace).contains("--grace"),
        "{}",
        stderr(&grace)
    );
    let twice = server.lock(&["a", "a/b", "--", "true"]).output().unwrap();
    assert!(
        code(&twice) == 125 || code(&twice) == 0,
        "{}",
        stderr(&twice)
    );
    // Nobody listens on the reserved port 1.
    let nobody = lockwright(&["lock", "--connect-timeout", "200ms", "a", "--", "true"])
        .env("LOCKWRIGHT_SERVER", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&nobody), 125);
    assert!(
        stderr(&nobody).contains("127.0.0.1:1"),
        "{}",
        stderr(&nobody)
    );
}

#[test]
fn all_that_is_not_the_commands_ends_with_a_code_of_its_own() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let unknown = dir.write("unknown.toml", "[lock]\nwayt = '1s'\n");
    let wrong = dir.write("wrong.toml", "[lock]\nwait = 30\n");
    let other = dir.write("other.toml", "[serve]\nmemory = 'perhaps'\n");
    let broken = dir.write("broken.toml", "wait = \n");
    let missing = dir.path("missing.toml");
    let binary = dir.path("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    for file in [&unknown, &wrong, &other, &broken, &missing, &binary] {
        let in_environment = server
            .lock(&["a", "--", "true"])
            .env("LOCKWRIGHT_CONFIG", file)
            .output()
            .unwrap();
        let on_line = server.lock(&["--config", file, "a", "--", "true"]).output();
        for output in [in_environment, on_line.unwrap()] {
            let text = stderr(&output);
            assert_eq!(code(&output), 125, "{file}: {text}");
            assert!(text.contains(file.as_str()), "{file}: {text}");
        }
        // The others say that it is their settings.
        let ls = run(&["ls", "--config", file]);
        assert_eq!(code(&ls), 2, "{file}: {}", stderr(&ls));
    }
    for (variable, value) in [
        ("LOCKWRIGHT_LOCK_WAIT", "soon"),
        ("LOCKWRIGHT_LOCK_TRY", "perhaps"),
        ("LOCKWRIGHT_NAMESPACE", ""),
        ("LOCKWRIGHT_SERVER", "nowhere"),
    ] {
        let mut lock = lockwright(&["lock", "a", "--", "true"]);
        let output = lock.env(variable, value).output().unwrap();
        assert_eq!(code(&output), 125, "{variable}: {}", stderr(&output));
    }
    for args in [
        &["lock", "--no-such-option", "a", "--", "true"][..],
        &["lock", "--wait", "1", "a", "--", "true"],
        &["lock", "--abandon", "0s", "a", "--", "true"],
        &["--config", missing.as_str(), "lock", "a", "--", "true"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 125, "{args:?}: {}", stderr(&output));
    }
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let help = lockwright(&["lock", "--help"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(code(&help), 125, "{}", stderr(&help));
    // What the command ends with stays what it is.
    for own in [1, 2, 69, 70, 74, 124] {
        let script = format!("exit {own}");
        let output = server
            .lock(&["a", "--", "sh", "-c", &script])
            .output()
            .unwrap();
        assert_eq!(code(&output), own);
    }
}

#[test]
fn the_code_for_a_lock_that_is_not_to_be_had_can_be_chosen() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &["a"]);
    let file = dir.write("settings.toml", "[lock]\nconflict_exit_code = 75\n");
    let not_now = [&["--try"][..], &["--wait", "50ms"]];
    for code in [0, 1, 2, 69, 75, 124, 255] {
        let text = code.to_string();
        for how in not_now {
            for option in ["-E", "--conflict-exit-code"] {
                let mut lock = server.lock(how);
                let output = lock
                    .args([option, &text, "a", "--", "false"])
                    .output()
                    .unwrap();
                assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
                assert!(stderr(&output).contains("a"), "{}", stderr(&output));
            }
            let mut lock = server.lock(how);
            lock.env("LOCKWRIGHT_LOCK_CONFLICT_EXIT_CODE", &text);
            let output = lock.args(["a", "--", "false"]).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        }
    }
    let mut lock = server.lock(&["--try", "--config", &file, "a", "--", "false"]);
    assert_eq!(code(&lock.output().unwrap()), 75);
    for wrong in ["256", "-1", "x", ""] {
        let output = server
            .lock(&["-E", wrong, "--try", "a", "--", "true"])
            .output();
        assert_eq!(code(&output.unwrap()), 125, "{wrong}");
    }
    // It is for nothing else.
    let mut lock = server.lock(&["-E", "0", "b", "--", "sh", "-c", "exit 124"]);
    assert_eq!(code(&lock.output().unwrap()), 124);
    let nobody = [
        "lock",
        "-E",
        "0",
        "--server",
        "127.0.0.1:1",
        "--connect-timeout",
        "100ms",
    ];
    assert_eq!(
        code(&run(&[&nobody[..], &["a", "--", "true"]].concat())),
        125
    );
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_name_may_begin_with_a_hyphen() {
    let server = Server::in_memory();
    let script = "printf %s, $LOCKWRIGHT_KEYS";
    for (line, keys) in [
        (&["--", "-rf", "--", "sh", "-c", script][..], "-rf,"),
        (&["--ttl", "30s", "--", "--", "x", "--"], ""),
        (
            &["--read", "--", "-a/-b", "c", "--", "sh", "-c", script],
            "-a/-b,c,",
        ),
    ] {
        let output = server.lock(line).output().unwrap();
        let expected = if keys.is_empty() { 125 } else { 0 };
        assert_eq!(code(&output), expected, "{line:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), keys);
    }
    for line in [&["-rf", "--", "true"][..], &["--", "true"], &["a", "--"]] {
        let output = server.lock(line).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 125, "{line:?}: {text}");
        let advice = if line == ["a", "--"] {
            "no command behind `--`"
        } else {
            "lock -- -NAME -- CMD"
        };
        assert!(text.contains(advice), "{line:?}: {text}");
    }
    for line in [&["--wait", "-5s", "a"][..], &["--ttl", "-1", "a"]] {
        let text = stderr(&server.lock(line).output().unwrap());
        assert!(text.contains("is no duration"), "{line:?}: {text}");
    }
    for args in [
        &["acquire", "--", "-rf"][..],
        &["inspect", "--", "-rf"],
        &["ls", "--", "-rf"],
        &["break", "--yes", "--", "-rf"],
    ] {
        let (command, rest) = args.split_first().unwrap();
        let output = run(&[&[*command, "--server", &server.address], rest].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        assert!(*command == "ls" || stdout(&output).len() > 1, "{args:?}");
    }
}

#[test]
fn without_a_command_the_lock_is_held_until_it_is_told_to_end() {
    let server = Server::in_memory();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        if is_ignored(signal) {
            continue;
        }
        let mut child = server.lock(&["a", "-E", "0"]).spawn().unwrap();
        let mut token = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut token).unwrap();
        let ls = ["ls", "--server", &server.address, "--json"];
        let held = stdout(&run(&ls));
        assert!(
            held.contains(&format!("\"token\":{}", token.trim())),
            "{held}"
        );
        // It is for a command, and there is none.
        kill(pid(&child), Signal::SIGUSR1).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(child.try_wait().unwrap(), None);
        kill(pid(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 0, "{signal}: {}", stderr(&output));
        let holding = format!("holding a with the token {}", token.trim());
        assert!(stderr(&output).contains(&holding), "{}", stderr(&output));
        assert_eq!(stdout(&run(&ls)), "");
    }
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = server.lock(&["a"]).stdout(full).output().unwrap();
    assert_eq!(code(&output), 125, "{}", stderr(&output));

    let child = server.lock(&["a"]).spawn().unwrap();
    eventually("it is held", || {
        stdout(&run(&["ls", "--server", &server.address])).contains("write a")
    });
    run(&["break", "a", "--yes", "--server", &server.address]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 123, "{}", stderr(&output));
    assert!(stderr(&output).contains("the lock is lost: it ended at the server: broken"));
}

#[test]
fn whoever_does_not_get_the_lock_is_told_who_has_it() {
    let server = Server::in_memory();
    let ask = |args: &[&str]| {
        let output = run(&[args, &["--server", &server.address]].concat());
        assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
        stdout(&output).trim().to_owned()
    };
    let token = ask(&["acquire", "a/b", "--holder", "alice"]);
    ask(&["acquire", "elsewhere", "--holder", "carol"]);
    ask(&["acquire", "c", "--read", "--holder", "dora"]);
    let has = format!(", with the token {token}");
    for how in [&["--try"][..], &["--wait", "50ms"]] {
        let output = server.lock(how).args(["a", "--", "true"]).output().unwrap();
        let text = stderr(&output);
        assert_eq!(code(&output), 124, "{text}");
        assert!(
            text.contains("alice (") && text.contains(") has held write a/b for "),
            "{text}"
        );
        assert!(text.contains(&has) && !text.contains("carol"), "{text}");
    }
    let reader = server
        .lock(&["--try", "--read", "a", "c", "--", "true"])
        .output()
        .unwrap();
    let text = stderr(&reader);
    assert!(text.contains(&has) && !text.contains("dora"), "{text}");
}

#[test]
fn on_a_terminal_whoever_waits_is_told_for_whom() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut first = holder(&server, &dir, &["a"]);
    let mut second = lockwright(&["acquire", "a/b", "--holder", "bob", "--wait", "60s"])
        .args(["--server", &server.address])
        .spawn()
        .unwrap();
    eventually("it waits", || {
        stdout(&run(&["ls", "--queued", "--server", &server.address])).contains("bob")
    });
    let pty = nix::pty::openpty(None, None).unwrap();
    let mut third = server
        .lock(&["a", "--", "true"])
        .stderr(Stdio::from(pty.slave))
        .spawn()
        .unwrap();
    let lines = LinesInTime::of(std::fs::File::from(pty.master));
    let said: Vec<String> = (0..3).map(|_| lines.line()).collect();
    let said: Vec<&str> = said.iter().map(|line| line.trim()).collect();
    assert_eq!(said[0], "lockwright: waiting for a");
    assert!(
        said[1].starts_with("session:") && said[1].contains(" has held write a for "),
        "{said:?}"
    );
    assert!(
        said[2].starts_with("bob (") && said[2].contains(") has waited for write a/b for "),
        "{said:?}"
    );
    // Elsewhere it waits without a word.
    let fourth = server
        .lock(&["--wait", "300ms", "a", "--", "true"])
        .output()
        .unwrap();
    assert!(
        !stderr(&fourth).contains("waiting for"),
        "{}",
        stderr(&fourth)
    );
    for child in [&mut first, &mut second, &mut third] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
