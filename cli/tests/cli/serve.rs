//! `lockwright serve`: starting, ending, and what is wrong told plainly.

use crate::support::{
    Dir, PATIENCE, Server, address_of, ask, code, eventually, json, lockwright, run, stderr, stdout,
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::Signal,
    unistd::{pipe, write},
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

#[test]
fn a_place_for_the_data_must_be_chosen_and_only_one() {
    let neither = run(&["serve"]);
    assert_eq!(code(&neither), 2);
    assert!(stderr(&neither).contains("--data DIR") && stderr(&neither).contains("--memory"));
    let both = run(&["serve", "--memory", "--data", "x"]);
    assert_eq!(code(&both), 2);
    assert!(stderr(&both).contains("keep one"), "{}", stderr(&both));
}

#[test]
fn a_node_of_a_cluster_must_remember_and_be_one_of_its_peers() {
    let peers = "1=127.0.0.1:1/127.0.0.1:2,2=127.0.0.1:3/127.0.0.1:4";
    let forgetful = run(&["serve", "--memory", "--id", "1", "--peers", peers]);
    assert_eq!(code(&forgetful), 2);
    let text = stderr(&forgetful);
    assert!(text.contains("cannot keep its state in memory"), "{text}");
    let stranger = run(&["serve", "--data", "x", "--id", "3", "--peers", peers]);
    assert_eq!(code(&stranger), 2);
    assert!(
        stderr(&stranger).contains("has 1, 2"),
        "{}",
        stderr(&stranger)
    );
}

#[test]
fn locks_of_a_restarted_server_are_those_of_before() {
    let dir = Dir::new();
    let data = dir.path("data");
    let server = Server::start(&["--data", &data]);
    let token = |server: &Server| {
        let args = ["a", "--", "sh", "-c", "echo $LOCKWRIGHT_TOKEN"];
        let output = server.lock(&args).output().unwrap();
        stdout(&output).trim().parse::<u64>().unwrap()
    };
    let before = token(&server);
    drop(server);
    let server = Server::start(&["--data", &data]);
    assert!(token(&server) > before);
}

#[test]
fn a_signal_ends_it_with_exit_code_zero() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::in_memory();
        server.signal(signal);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_told() {
    let dir = Dir::new();
    let data = dir.path("data");
    let _first = Server::start(&["--data", &data]);
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--data", &data]);
    assert_eq!(code(&second), 1);
    assert!(
        stderr(&second).contains("another server uses"),
        "{}",
        stderr(&second)
    );

    for (listen, expected) in [("nowhere", 2), ("no..where:1", 1)] {
        let address = run(&["serve", "--memory", "--listen", listen]);
        let text = stderr(&address);
        assert_eq!(code(&address), expected, "{text}");
        assert!(text.contains(&format!("`{listen}`")), "{text}");
    }

    let foreign = Dir::new();
    let seen = Server::start(&["--data", &foreign.path("data")]);
    drop(seen);
    for file in std::fs::read_dir(foreign.path("data")).unwrap() {
        std::fs::write(file.unwrap().path(), "not ours").unwrap();
    }
    let refused = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data",
        &foreign.path("data"),
    ]);
    assert_eq!(code(&refused), 1);
    let text = stderr(&refused);
    assert!(text.contains("no data of a Lockwright server"), "{text}");
}

#[test]
fn logs_are_json_when_asked_for() {
    let mut command = lockwright(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
    command.args(["--log-format", "json"]);
    let child = command.spawn().unwrap();
    // It has to be there before it can be told to end.
    let mut child = child;
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    nix::sys::signal::kill(crate::support::pid(&child), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert!(text.lines().count() >= 2, "{text}");
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(
            event["level"].is_string() && event["message"].is_string(),
            "{line}"
        );
    }
}

/// A server whose log is kept.
struct Logged(Server, BufReader<std::process::ChildStderr>);

impl Logged {
    fn start(args: &[&str]) -> Logged {
        Logged::with(args, &[])
    }

    fn with(args: &[&str], variables: &[(&str, &str)]) -> Logged {
        let mut command = lockwright(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
        command.args(args).envs(variables.iter().copied());
        let mut child = command.spawn().unwrap();
        let address = address_of(&mut child);
        let log = BufReader::new(child.stderr.take().unwrap());
        Logged(Server { address, child }, log)
    }

    /// Asks with the program.
    fn ask(&self, args: &[&str]) -> std::process::Output {
        let (command, rest) = args.split_first().unwrap();
        run(&[&[*command, "--server", &self.0.address], rest].concat())
    }

    /// Waits for a line of its log, of JSON objects, that is so. Gives what was read.
    fn hear(&mut self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) -> String {
        let since = Instant::now();
        let mut log = String::new();
        loop {
            let from = log.len();
            let length = self.1.read_line(&mut log).unwrap();
            assert!(length > 0 && since.elapsed() < PATIENCE, "{what}: {log}");
            if is_so(&json(&log[from..])) {
                return log;
            }
        }
    }

    /// Waits for the server's end. Gives its exit code and what of its log was not read yet.
    fn ended(mut self) -> (Option<i32>, String) {
        let code = self.0.child.wait().unwrap().code();
        let mut log = String::new();
        self.1.read_to_string(&mut log).unwrap();
        (code, log)
    }
}

#[test]
fn told_to_wait_for_locks_it_stays_until_they_are_released() {
    let server = Logged::start(&["--drain", "locks", "--drain-timeout", "10m"]);
    let output = server.ask(&["acquire", "a"]);
    let token = stdout(&output);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let mut waiter = server.0.lock(&["a", "--", "true"]).spawn().unwrap();
    eventually("it waits", || {
        stdout(&server.ask(&["ls", "--queued"])).contains("queued")
    });
    server.0.signal(Signal::SIGTERM);
    eventually("what waits is sent away", || {
        !stdout(&server.ask(&["ls", "--queued"])).contains("queued")
    });
    assert_eq!(code(&server.ask(&["acquire", "b"])), 69);
    let locks = stdout(&server.ask(&["ls", "--queued"]));
    assert!(
        locks.contains("held") && !locks.contains("queued"),
        "{locks}"
    );
    let release = server.ask(&["release", "a", "--token", token.trim()]);
    assert_eq!(code(&release), 0, "{}", stderr(&release));
    let address = server.0.address.clone();
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("waits until no locks are held"), "{log}");
    assert!(log.contains("no locks are held any more"), "{log}");
    // The next server at this address has the waiter.
    let _next = Server::start_on(&address, &["--memory"]);
    assert!(waiter.wait().unwrap().success());
}

#[test]
fn a_second_signal_or_the_timeout_ends_the_wait_for_locks() {
    let variables = [("LOCKWRIGHT_DRAIN", "locks")];
    let server = Logged::with(&["--drain-timeout", "10m"], &variables);
    assert_eq!(code(&server.ask(&["acquire", "a"])), 0);
    server.0.signal(Signal::SIGTERM);
    let newcomer = ["acquire", "b", "--ttl", "1ms"];
    eventually("it says no", || code(&server.ask(&newcomer)) == 69);
    server.0.signal(Signal::SIGTERM);
    assert_eq!(server.ended().0, Some(143));

    let dir = Dir::new();
    let file = "[serve]\ndrain = 'locks'\ndrain_timeout = '200ms'\n";
    let file = dir.write("settings.toml", file);
    let server = Logged::start(&["--config", &file]);
    assert_eq!(code(&server.ask(&["acquire", "a/b", "--holder", "al"])), 0);
    server.0.signal(Signal::SIGTERM);
    let (code, log) = server.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("default: w a/b of al, token "), "{log}");
}

#[test]
fn the_use_and_each_life_are_logged_when_asked_for() {
    let dir = Dir::new();
    let file = "[serve]\nlog_locks = true\nstats_interval = '20ms'\n";
    let file = dir.write("settings.toml", file);
    let args = ["--config", &file, "--log-format", "json"];
    let mut server = Logged::with(&args, &[("LOCKWRIGHT_LOG_CLIENTS", "true")]);
    // What is at one moment is in the log only if the next line of the use was waited for.
    let usage = |connections: u64, sessions: u64, held: u64, queued: u64| {
        move |line: &serde_json::Value| {
            line["message"] == "usage"
                && line["connections"] == connections
                && line["sessions"] == sessions
                && line["held"] == held
                && line["queued"] == queued
        }
    };
    let acquired = server.ask(&["acquire", "a/b", "--holder", "al", "--ttl", "60s"]);
    let token: u64 = stdout(&acquired).trim().parse().unwrap();
    let waiting = [
        "lock",
        "a",
        "--wait",
        "50ms",
        "--namespace",
        "n",
        "--",
        "true",
    ];
    assert_eq!(code(&server.ask(&waiting)), 0);
    let mut log = server.hear("it is held", usage(0, 0, 1, 0));
    let waiting = ["a", "--wait", "1s", "--", "true"];
    let mut waiting = server.0.lock(&waiting).spawn().unwrap();
    log += &server.hear("another one waits", usage(1, 1, 1, 1));
    assert_eq!(waiting.wait().unwrap().code(), Some(124));
    log += &server.hear("it waited in vain", usage(0, 0, 1, 0));
    let text = token.to_string();
    assert_eq!(code(&server.ask(&["release", "a/b", "--token", &text])), 0);
    log += &server.hear("it is released", usage(0, 0, 0, 0));
    server.0.signal(Signal::SIGTERM);
    log += &server.ended().1;
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |message: &str| {
        let lines = lines.iter().filter(|line| line["message"] == message);
        lines.collect::<Vec<_>>()
    };
    let of = |message: &str, owner: &str| {
        let mut lines = said(message);
        lines.retain(|line| line["owner"].as_str().unwrap().starts_with(owner));
        assert_eq!(lines.len(), 1, "{message} of {owner}: {log}");
        lines[0]
    };
    let granted = of("a lock is granted", "al");
    assert_eq!(granted["level"], "INFO");
    assert_eq!(granted["namespace"], "default");
    assert_eq!(granted["paths"], "w a/b");
    assert_eq!(granted["token"], token);
    assert_eq!(granted["waited_ms"], 0);
    let ended = of("a lock has ended", "al");
    assert_eq!(
        (&ended["token"], &ended["reason"]),
        (&token.into(), &"released".into())
    );
    assert!(ended["held_ms"].as_u64().unwrap() >= 1_000, "{ended}");
    assert_eq!(of("a lock is granted", "session:")["namespace"], "n");
    let vain = of("a request has ended", "session:");
    assert_eq!(
        (&vain["paths"], &vain["reason"]),
        (&"w a".into(), &"timed_out".into())
    );
    assert!(vain["waited_ms"].as_u64().unwrap() >= 1_000, "{vain}");
    assert_eq!(said("a session begins").len(), 2, "{log}");
    // The one that got nothing too.
    assert_eq!(said("a session has ended").len(), 2, "{log}");

    let usage = said("usage");
    let total = |field: &str| {
        usage
            .iter()
            .map(|line| line[field].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!((total("grants"), total("waits")), (2, 1), "{log}");
}

#[test]
fn what_an_operator_breaks_is_logged_for_people() {
    let server = Logged::start(&["--log-format", "json"]);
    let output = server.ask(&["acquire", "a/b", "--holder", "al", "--label", "it"]);
    let token: u64 = stdout(&output).trim().parse().unwrap();
    assert_eq!(code(&server.ask(&["break", "a/b", "--yes"])), 0);
    server.0.signal(Signal::SIGTERM);
    let (_, log) = server.ended();
    let lines = log.lines().map(json);
    let said: Vec<_> = lines
        .filter(|line| line["message"] == "an operator broke a lock")
        .collect();
    let [said] = said.as_slice() else {
        panic!("{log}");
    };
    assert_eq!(
        (&said["owner"], &said["token"]),
        (&"al".into(), &token.into())
    );
    assert_eq!(
        (&said["paths"], &said["label"]),
        (&"w a/b".into(), &"it".into())
    );
    assert_eq!(said["namespace"], "default");
}

#[test]
fn connections_and_sessions_are_logged_at_debug_and_their_lives_at_info_only_when_asked_for() {
    let log = |args: &[&str]| {
        let server = Logged::start(args);
        assert_eq!(code(&server.ask(&["lock", "a", "--", "true"])), 0);
        server.0.signal(Signal::SIGTERM);
        server.ended().1
    };
    let quiet = log(&[]);
    for text in ["session", "a lock", "connection has come", "usage"] {
        assert!(!quiet.contains(text), "{text}: {quiet}");
    }
    let debug = log(&["--log-level", "debug"]);
    for text in [
        "a connection has come",
        "a connection for a session has come",
        "a session begins",
        "a session has ended",
        "a connection for a session has gone",
    ] {
        assert!(debug.contains(text), "{text}: {debug}");
    }
    let clients = log(&["--log-clients"]);
    assert!(
        clients.contains("a session begins") && !clients.contains("a lock"),
        "{clients}"
    );
}

#[test]
fn settings_come_from_the_command_line_then_the_environment_then_the_file() {
    let dir = Dir::new();
    let data = dir.path("data");
    let file = format!("[serve]\nlisten = 'file..a:1'\ndata = '{data}'\nlog_level = 'off'\n");
    let file = dir.write("settings.toml", &file);
    let listens_on = |args: &[&str], variable: Option<&str>| {
        let mut command = lockwright(&["serve", "--config", &file]);
        command.args(args);
        if let Some(value) = variable {
            command.env("LOCKWRIGHT_LISTEN", value);
        }
        stderr(&command.output().unwrap())
    };
    assert!(listens_on(&[], None).contains("`file..a:1`"));
    assert!(listens_on(&[], Some("env..a:1")).contains("`env..a:1`"));
    assert!(listens_on(&["--listen", "flag..a:1"], Some("env..a:1")).contains("`flag..a:1`"));
    // The place of the data is one setting: the file's gives way to the flag.
    let mut command = lockwright(&["serve", "--memory", "--listen", "flag..a:1"]);
    let output = command.env("LOCKWRIGHT_CONFIG", &file).output().unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    let dir = Dir::new();
    let file = dir.write(
        "settings.toml",
        "# ours\n[serve]\nmemory = true\nlisten_on = 'a:1'\n",
    );
    let output = run(&["serve", "--config", &file]);
    assert_eq!(code(&output), 2);
    let text = stderr(&output);
    assert!(
        text.contains("settings.toml:4: unknown key `listen_on`"),
        "{text}"
    );
    let missing = run(&["serve", "--config", &dir.path("nowhere")]);
    assert_eq!(code(&missing), 2);
    let broken = dir.write("broken.toml", "[serve\n");
    assert!(stderr(&run(&["serve", "--config", &broken])).contains("broken.toml:1:"));
}

#[test]
fn help_and_version_are_no_mistakes() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["help", "serve"],
        &["lock", "--help"],
    ] {
        let output = run(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(!output.stdout.is_empty());
    }
    assert_eq!(code(&run(&["sreve"])), 2);
}

#[test]
fn a_reader_of_the_log_that_is_stuck_holds_up_nothing_and_learns_what_it_has_lost() {
    // With a path of 7 KiB in each line, more than the pipe and the server keep.
    const LOCKS: usize = 1_500;
    let args = [
        "serve",
        "--memory",
        "--listen",
        "127.0.0.1:0",
        "--log-locks",
    ];
    let mut child = lockwright(&args).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    let mut log = child.stderr.take().unwrap();
    let mut server = Server { address, child };

    let path = vec!["x".repeat(250); 30].join("%2F");
    let requests: String = (0..LOCKS)
        .flat_map(|_| ["POST", "DELETE"])
        .map(|method| {
            format!(
                "{method} /lock/{path}?holder=h HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
            )
        })
        .collect();
    let last = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all((requests + last).as_bytes()));
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    writer.join().unwrap().unwrap();
    let done = answers.matches("HTTP/1.1 200").count();
    assert_eq!(done, 2 * LOCKS + 1, "{answers:.1000}");

    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    let text = reader.join().unwrap();
    let of_locks = text.matches("a lock ").count();
    let lost = text
        .split("are lost: stderr is not read fast enough lost=")
        .skip(1);
    let lost = lost.map(|rest| rest.split_whitespace().next().unwrap().parse::<usize>());
    let lost: usize = lost.map(Result::unwrap).sum();
    assert!(lost > 0);
    // The line that says that it was told to end may have been lost, too.
    assert!(
        (2 * LOCKS..2 * LOCKS + 3).contains(&(of_locks + lost)),
        "{of_locks}, {lost}"
    );
}

/// A pipe that takes nothing more, and its reader, which reads nothing.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while write(&writer, &[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// The exit code of a process that ends in time; one that does not is killed.
fn ends(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("it has not ended: {}", child.wait().unwrap());
        }
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_reader_of_stderr_that_is_stuck_does_not_hold_up_the_end() {
    // It fails at once, and it fails when it has logged something.
    let dir = Dir::new();
    let data = dir.path("data");
    let wide = std::fs::Permissions::from_mode(0o777);
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, wide).unwrap();
    let nowhere = "no..where:1";
    for args in [["--memory"].as_slice(), &["--data", &data]] {
        let (_reader, writer) = full_pipe();
        let mut command = lockwright(&["serve", "--log-level", "trace", "--listen", nowhere]);
        let mut child = command.args(args).stderr(writer).spawn().unwrap();
        assert_eq!(ends(&mut child), Some(1), "{args:?}");
    }

    // It is told to end, once or twice.
    for expected in [0, 143] {
        let (_reader, writer) = full_pipe();
        let mut command = lockwright(&["serve", "--memory", "--listen", "127.0.0.1:0"]);
        command.args(["--log-level", "trace", "--drain", "locks"]);
        command.args(["--drain-timeout", "1h"]);
        let mut child = command.stderr(writer).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        let mut server = Server { address, child };
        if expected == 143 {
            let held = ask(&server, &["acquire", "a", "--holder", "h"]);
            assert_eq!(code(&held), 0, "{}", stderr(&held));
            server.signal(Signal::SIGTERM);
            eventually("it drains", || is_draining(&server));
        }
        server.signal(Signal::SIGTERM);
        assert_eq!(ends(&mut server.child), Some(expected));
    }
}

fn is_draining(server: &Server) -> bool {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let ready = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ready.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.contains("draining")
}
