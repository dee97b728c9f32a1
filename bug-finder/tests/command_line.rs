//! The binary as people and programs use it: exit codes, files, signals, JSON.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A directory of its own for a test, gone with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("bug-finder-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Dir(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("it is ours to write to");
        path.display().to_string()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bug-finder"));
        command
            .args(args)
            .current_dir(&self.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary is there")
    }

    fn names(&self) -> Vec<String> {
        fn collect(dir: &Path, names: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).expect("it is there") {
                let path = entry.expect("it is there").path();
                if path.is_dir() {
                    collect(&path, names);
                } else {
                    names.push(path.display().to_string());
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names.sort();
        names
    }

    /// The trace of a canary, found by `run`.
    fn canary_trace(&self) -> String {
        let output = self.run(&[
            "run",
            "--profile",
            "engine",
            "--seeds",
            "0..9",
            "--canary",
            "violation",
        ]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let names = self.names();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    }

    /// As [`Dir::canary_trace`], where there are other files.
    fn canary_trace_beside(&self) -> PathBuf {
        let args = [
            "run",
            "--profile",
            "engine",
            "--seeds",
            "3",
            "--canary",
            "violation",
        ];
        assert_eq!(self.run(&args).status.code(), Some(1));
        self.0.join("findings/engine-3-canary.json")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("output is text")
}

/// The children of a process.
fn children(pid: u32) -> Vec<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|pid| pid.parse().expect("it is a number"))
        .collect()
}

fn wait_for_children(child: &Child) -> Vec<i32> {
    let start = Instant::now();
    loop {
        let pids = children(child.id());
        if !pids.is_empty() {
            return pids;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "it never forked");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
    kill(pid, signal).expect("it lives");
}

#[test]
fn bad_command_lines_exit_2_and_say_why() {
    let dir = Dir::new("usage");
    for (args, says) in [
        (&["hunt"][..], "unrecognized subcommand"),
        (&["run", "--profile", "castle"], "possible values"),
        (&["run", "--seeds", "9..3"], "holds no seed"),
        (&["run", "--seeds", "x"], "no seed"),
        (&["run", "--for", "5"], "no duration"),
        (&["run", "--for", "0s"], "no time at all"),
        (&["run", "--jobs", "0"], "--jobs"),
        (&["run", "--shard", "5/4"], "no shard"),
        (
            &["run", "--seeds", "0..3", "--start", "1"],
            "cannot be used with",
        ),
        (&["replay"], "required"),
        (&["replay", "--seed", "3"], "--profile"),
        (&["replay", "nowhere.json"], "nowhere.json"),
        (&["shrink", "nowhere.json"], "nowhere.json"),
        (&["explain", "nowhere.json"], "nowhere.json"),
        (&["script", "nowhere.script"], "nowhere.script"),
        (&["regress", "nowhere"], "nowhere"),
    ] {
        let output = dir.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn every_command_has_help() {
    let dir = Dir::new("help");
    for command in ["run", "replay", "shrink", "script", "regress", "explain"] {
        let output = dir.run(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("Example"), "{command}");
    }
    assert!(stdout(&dir.run(&["--help"])).contains("Exit codes"));
}

#[test]
fn damaged_and_foreign_traces_exit_2_and_say_what_is_wrong() {
    let dir = Dir::new("damaged");
    let trace = dir.canary_trace();
    let whole = std::fs::read_to_string(&trace).expect("it was written");
    let half = &whole[..whole.len() / 2];
    for (text, says) in [
        (half.to_owned(), "not a whole JSON document"),
        (String::new(), "not a whole JSON document"),
        ("\u{0}\u{1}garbage".to_owned(), "not a whole JSON document"),
        (r#"{"name":"other","version":3}"#.to_owned(), "not a trace"),
        (
            whole.replacen("\"format\": 1", "\"format\": 99", 1),
            "format 99",
        ),
        (
            whole.replacen("\"seed\": 3", "\"seed\": \"three\"", 1),
            "expected u64",
        ),
        (
            whole.replacen("\"plan\"", "\"plans\"", 1),
            "unknown field `plans`",
        ),
        (
            whole.replacen("\"history_hash\": \"", "\"history_hash\": \"zz", 1),
            "hexadecimal",
        ),
    ] {
        let file = dir.file("bad.json", &text);
        for command in ["replay", "shrink", "explain"] {
            let output = dir.run(&[command, &file]);
            assert_eq!(output.status.code(), Some(2), "{command} {says}");
            let message = stderr(&output);
            assert!(
                message.contains(says) && message.contains("bad.json"),
                "{message}"
            );
        }
    }
    assert_eq!(dir.run(&["replay", "."]).status.code(), Some(2));
}

#[test]
fn a_finding_is_shrunk_written_replayed_and_explained() {
    let dir = Dir::new("finding");
    let trace = dir.canary_trace();
    assert!(trace.ends_with("engine-3-canary.json"), "{trace}");
    let text = std::fs::read_to_string(&trace).expect("it was written");
    let json: Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(json["format"], 1);
    assert_eq!(json["profile"], "engine");
    assert_eq!(json["violation"]["oracle"], "canary");
    assert_eq!(json["shrunk"]["to"]["commands"], 3);
    assert_eq!(json["shrunk"]["complete"], true);

    let again = dir.run(&["replay", &trace, "--canary", "violation", "--json"]);
    assert_eq!(again.status.code(), Some(1));
    let again: Value = serde_json::from_str(&stdout(&again)).expect("it is JSON");
    assert_eq!(again["same_violation"], true);
    assert_eq!(again["same_history"], true);

    // Mended, that is, without the canary.
    let mended = dir.run(&["replay", &trace]);
    assert_eq!(mended.status.code(), Some(0), "{}", stdout(&mended));
    assert!(stdout(&mended).contains("did not come again"));

    // Of another history.
    let hash = json["history_hash"].as_str().expect("it is text");
    let other = dir.file("other.json", &text.replace(hash, "0123456789abcdef"));
    let other = dir.run(&["replay", &other, "--canary", "violation"]);
    assert_eq!(other.status.code(), Some(3));

    let story = dir.run(&["explain", &trace, "--canary", "violation"]);
    assert_eq!(story.status.code(), Some(0));
    assert!(stdout(&story).contains("Violation of canary"));

    let shrunk = dir.run(&[
        "shrink",
        &trace,
        "-o",
        "small.json",
        "--canary",
        "violation",
    ]);
    assert_eq!(shrunk.status.code(), Some(1));
    assert!(dir.0.join("small.json").exists());
}

#[test]
fn canaries_of_all_kinds_are_found() {
    let dir = Dir::new("canaries");
    let run = |extra: &[&str]| {
        let mut args = vec![
            "run",
            "--profile",
            "engine",
            "--seeds",
            "0..5",
            "--shrink-for",
            "1s",
        ];
        args.extend(extra);
        dir.run(&args)
    };
    for kind in ["abort", "panic"] {
        let output = run(&["--canary", kind]);
        assert_eq!(output.status.code(), Some(1), "{kind}");
        assert!(stdout(&output).contains("violation of crash"), "{kind}");
    }
    let output = run(&["--canary", "hang", "--seed-timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("violation of hang"));
    let output = run(&["--canary", "nondeterminism", "--check-determinism"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("not deterministic"));
}

#[test]
fn json_has_a_line_for_each_seed_and_a_summary_last() {
    let dir = Dir::new("json");
    let args = [
        "run",
        "--profile",
        "engine",
        "--seeds",
        "0..5",
        "--json",
        "--canary",
        "violation",
    ];
    let output = dir.run(&args);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    let summary = lines.pop().expect("there is a summary");
    assert_eq!(summary["summary"], true);
    assert_eq!(summary["violations"], 1);
    assert_eq!(summary["exit"], 1);
    assert_eq!(summary["stopped"], "found");
    assert_eq!(summary["seeds"], lines.len());
    for line in &lines {
        let fields: Vec<&String> = line.as_object().expect("an object").keys().collect();
        assert_eq!(
            fields,
            [
                "commands",
                "cpu_ms",
                "history_hash",
                "profile",
                "seed",
                "simulated_ms",
                "violation"
            ]
        );
        assert_eq!(line["violation"].is_null(), line["seed"] != 3, "{line}");
    }
}

#[test]
fn the_same_seeds_give_the_same_history_at_any_number_of_jobs() {
    let dir = Dir::new("jobs");
    let hashes = |extra: &[&str]| {
        let mut args = vec![
            "run",
            "--profile",
            "engine",
            "--json",
            "--keep-going",
            "--shrink-for",
            "0s",
        ];
        args.extend(extra);
        let mut hashes: Vec<(u64, String)> = stdout(&dir.run(&args))
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
            .filter(|line| line.get("summary").is_none())
            .map(|line| {
                let seed = line["seed"].as_u64().expect("a number");
                (seed, line["history_hash"].to_string())
            })
            .collect();
        hashes.sort();
        hashes
    };
    let one = hashes(&["--seeds", "0..30", "--jobs", "1"]);
    assert_eq!(one.len(), 30);
    assert_eq!(hashes(&["--seeds", "0..30", "--jobs", "3"]), one);
    assert_eq!(hashes(&["--seeds", "17", "--jobs", "2"]), one[17..18]);
    let mut shards = hashes(&["--seeds", "0..30", "--shard", "1/2"]);
    shards.extend(hashes(&["--seeds", "0..30", "--shard", "2/2"]));
    shards.sort();
    assert_eq!(shards, one);
}

#[test]
fn ctrl_c_and_sigterm_end_a_hunt_with_a_summary() {
    let dir = Dir::new("signals");
    for by in [Signal::SIGINT, Signal::SIGTERM] {
        let mut command =
            dir.command(&["run", "--profile", "engine", "--json", "--canary", "hang"]);
        let child = command.spawn().expect("the binary is there");
        let workers = wait_for_children(&child);
        signal(child.id(), by);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let last = stdout(&output).lines().last().map(str::to_owned);
        let last: Value = serde_json::from_str(&last.expect("a summary")).expect("it is JSON");
        assert_eq!(last["stopped"], "interrupted");
        for worker in workers {
            assert!(
                !Path::new(&format!("/proc/{worker}")).exists(),
                "a child was left behind"
            );
        }
    }
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn children_die_with_a_finder_that_is_killed() {
    let dir = Dir::new("killed");
    let mut command = dir.command(&[
        "run",
        "--profile",
        "engine",
        "--seeds",
        "3",
        "--canary",
        "hang",
    ]);
    let mut child = command.spawn().expect("the binary is there");
    let workers = wait_for_children(&child);
    child.kill().expect("it lives");
    child.wait().expect("it was killed");
    let start = Instant::now();
    let lives = |pid: &i32| {
        // Whoever inherits it may take its time to bury it.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    while workers.iter().any(lives) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "a child lives on"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_child_killed_from_outside_is_run_again_and_reported_the_second_time() {
    let dir = Dir::new("child-killed");
    let args = [
        "run",
        "--profile",
        "engine",
        "--seeds",
        "3",
        "--jobs",
        "1",
        "--shrink-for",
        "0s",
    ];
    let mut command =
        dir.command(&[&args[..], &["--canary", "hang", "--seed-timeout", "3s"]].concat());
    let child = command.spawn().expect("the binary is there");
    let workers = wait_for_children(&child);
    kill(Pid::from_raw(workers[0]), Signal::SIGKILL).expect("it lives");
    let output = child.wait_with_output().expect("it ends");
    // The second run of the seed was left alone, and hangs.
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("violation of hang"),
        "{}",
        stdout(&output)
    );
}

/// The line that sums up a hunt.
fn summary_line(output: &Output) -> String {
    let said = stderr(output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[test]
fn a_hunt_without_a_terminal_says_one_line_whatever_ends_it() {
    let dir = Dir::new("summary");
    let hunt = |args: &[&str]| {
        let output = dir.run(&[&["run", "--profile", "engine"], args].concat());
        (output.status.code(), summary_line(&output))
    };
    let (code, line) = hunt(&["--seeds", "0..5"]);
    assert_eq!(code, Some(0));
    assert!(
        line.starts_with("all seeds are done: 0 findings, 5 seeds,"),
        "{line}"
    );

    let (code, line) = hunt(&["--start", "7", "--for", "200ms"]);
    assert_eq!(code, Some(0));
    assert!(line.starts_with("time is up: 0 findings, "), "{line}");
    assert!(line.contains("run --profile engine --seeds 7.."), "{line}");

    let (code, line) = hunt(&["--seeds", "0..9", "--canary", "violation"]);
    assert_eq!(code, Some(1));
    assert!(
        line.starts_with("stopped at a finding: 1 finding, "),
        "{line}"
    );

    let mut command = dir.command(&["run", "--profile", "engine", "--canary", "hang"]);
    let child = command.spawn().expect("the binary is there");
    wait_for_children(&child);
    signal(child.id(), Signal::SIGTERM);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let line = summary_line(&output);
    assert!(line.starts_with("interrupted: 0 findings, "), "{line}");
}

#[test]
fn the_time_of_what_ran_before_the_hunt_is_not_its_own() {
    let dir = Dir::new("cpu");
    // As `scripts/bug_finder.sh` does, with a compiler that takes a second or more.
    let finder = env!("CARGO_BIN_EXE_bug-finder");
    let script = format!(
        "sh -c 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done'
         exec {finder} run --profile engine --seeds 0..2 --jobs 1 --json"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&dir.0)
        .output()
        .expect("there is a shell");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let last = stdout(&output).lines().last().map(str::to_owned);
    let last: Value = serde_json::from_str(&last.expect("a summary")).expect("it is JSON");
    let number = |name: &str| last[name].as_f64().expect("a number");
    // This process and one child: no more than two cores' time, and some for what is not on the clock.
    let most = 2.0 * number("elapsed_ms") + 100.0;
    assert!(number("cpu_ms") < most, "{last}");
}

#[test]
fn a_closed_output_ends_a_hunt_quietly() {
    let dir = Dir::new("closed");
    let mut command = dir.command(&["run", "--profile", "engine", "--json", "--keep-going"]);
    let mut child = command.spawn().expect("the binary is there");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(!stderr(&output).contains("error"), "{}", stderr(&output));
}

#[test]
fn a_place_that_cannot_be_written_exits_2_and_is_named() {
    let dir = Dir::new("unwritable");
    dir.file("findings", "a file, not a directory");
    let args = [
        "run",
        "--profile",
        "engine",
        "--seeds",
        "3",
        "--canary",
        "violation",
    ];
    let output = dir.run(&args);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("findings"), "{}", stderr(&output));
}

#[test]
fn scripts_are_answered_and_bad_lines_named() {
    let dir = Dir::new("script");
    let file = dir.file(
        "one.script",
        "{\"at\":0,\"op\":\"acquire\",\"id\":\"L1\",\"owner\":\"a\",\"claims\":[\"w a\"]}\nnonsense\n",
    );
    let output = dir.run(&["script", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stdout(&output),
        "{\"at\":0,\"event\":\"granted\",\"id\":\"L1\",\"token\":1}\n"
    );
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
}

#[test]
fn regress_tells_what_is_not_as_expected() {
    let dir = Dir::new("regress");
    std::fs::create_dir_all(dir.0.join("traces/deep")).expect("it is ours to write to");
    let script = "{\"at\":0,\"op\":\"acquire\",\"id\":\"L1\",\"owner\":\"a\",\"claims\":[\"w a\"]}\n\
                  #> {\"at\":0,\"event\":\"granted\",\"id\":\"L1\",\"token\":2}\n";
    dir.file("traces/deep/wrong.script", script);
    let output = dir.run(&["regress"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("traces/deep/wrong.script"));
    assert_eq!(dir.run(&["regress", "--rewrite"]).status.code(), Some(0));
    assert_eq!(dir.run(&["regress", "traces"]).status.code(), Some(0));

    dir.file("traces/foreign.json", "{}");
    assert_eq!(dir.run(&["regress"]).status.code(), Some(2));
    std::fs::remove_file(dir.0.join("traces/foreign.json")).expect("it is there");

    let trace = dir.canary_trace_beside();
    std::fs::copy(trace, dir.0.join("traces/canary.json")).expect("it is ours to write to");
    assert_eq!(dir.run(&["regress"]).status.code(), Some(0));
    let broken = dir.run(&["regress", "--canary", "violation"]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(stdout(&broken).contains("canary.json: violation of canary"));
}

#[test]
fn the_model_says_what_it_looked_at_and_what_it_missed() {
    let dir = Dir::new("model");
    let output = dir.run(&["model", "--depth", "3", "--json"]);
    // Three steps do not reach what must be reached.
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!(report["stopped"], "exhausted");
    assert_eq!(report["depth"], 3);
    assert_eq!(report["violation"], Value::Null);
    assert!(report["unique_states"].as_u64() > Some(100), "{report}");
    assert!(report["states"].as_u64() >= report["unique_states"].as_u64());
    let rules = report["rules"].as_array().expect("a list");
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["broken"] == false));
    let text = stdout(&dir.run(&["model", "--depth", "3", "--jobs", "1"]));
    assert!(
        text.contains("not reached: one end sets two free"),
        "{text}"
    );
    assert_eq!(dir.names(), Vec::<String>::new());
}

#[test]
fn a_model_out_of_range_is_refused() {
    let dir = Dir::new("model-usage");
    for (args, says) in [
        (["model", "--clients", "9"], "clients are 1 to 4, not 9"),
        (["model", "--requests", "0"], "requests are 1 to 6, not 0"),
        (["model", "--menu", "vast"], "possible values: small, full"),
    ] {
        let output = dir.run(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn a_model_that_takes_too_long_says_how_far_it_got() {
    let dir = Dir::new("model-long");
    let endless = [
        "model",
        "--clients",
        "4",
        "--requests",
        "6",
        "--menu",
        "full",
        "--json",
    ];
    let mut timed = endless.to_vec();
    timed.extend(["--for", "1s"]);
    let output = dir.run(&timed);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!(report["stopped"], "time_up");

    let child = dir.command(&endless).spawn().expect("the binary is there");
    std::thread::sleep(Duration::from_secs(1));
    signal(child.id(), Signal::SIGINT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("one JSON object");
    assert_eq!(report["stopped"], "interrupted");
    assert!(report["unique_states"].as_u64() > Some(1), "{report}");
}

#[test]
fn the_explorer_serves_until_it_is_interrupted() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    let dir = Dir::new("model-explore");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let explore = ["model", "--explore", &address];
    let refused = dir.run(&explore);
    assert_eq!(refused.status.code(), Some(2), "the port is taken");
    drop(taken);

    let mut child = dir.command(&explore).spawn().expect("the binary is there");
    let mut said = String::new();
    let out = child.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut said).expect("a line");
    assert!(said.contains(&address), "{said}");
    let start = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(&address) {
            Ok(stream) => break stream,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let request = format!("GET /.states/ HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("the engine knows of 0 ms"), "{answer}");
    signal(child.id(), Signal::SIGINT);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
}
