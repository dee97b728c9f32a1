//! Where settings come from, and which of two that exclude each other counts.

use crate::support::{Dir, Server, code, holder_of, lockwright, run, stderr, stdout};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

/// An option: on the command line, in the environment and in a file.
#[derive(Clone)]
struct Given {
    table: &'static str,
    name: &'static str,
    value: String,
}

impl Given {
    fn new(table: &'static str, name: &'static str, value: impl Into<String>) -> Given {
        let value = value.into();
        Given { table, name, value }
    }

    fn is_flag(&self) -> bool {
        self.value == "true"
    }

    fn variable(&self) -> String {
        let name = match (self.table, self.name) {
            ("serve", name) | (_, name @ "server") => name.to_owned(),
            (table, name) => format!("{table}_{name}"),
        };
        format!("LOCKWRIGHT_{}", name.replace('-', "_").to_uppercase())
    }

    fn line(&self) -> String {
        let value = if self.is_flag() {
            "true".to_owned()
        } else {
            format!("'{}'", self.value)
        };
        format!("{} = {value}\n", self.name.replace('-', "_"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    File,
    Environment,
    CommandLine,
}

/// The command line with both, each from its source.
fn command(dir: &Dir, base: &[&str], given: [(&Given, Source); 2]) -> Command {
    let mut command = lockwright(&base[..1]);
    let mut file = format!("[{}]\n", base[0]);
    for (one, source) in given {
        match source {
            Source::File => file.push_str(&one.line()),
            Source::Environment => {
                command.env(one.variable(), &one.value);
            }
            Source::CommandLine if one.is_flag() => {
                command.arg(format!("--{}", one.name));
            }
            Source::CommandLine => {
                command.args([&format!("--{}", one.name), &one.value]);
            }
        }
    }
    command.args(["--config", &dir.write("settings.toml", &file)]);
    command.args(&base[1..]);
    command
}

/// Has both of a pair come from each source, and says what came of it: the first counts, the
/// second, or neither.
fn each_way(
    base: &[&str],
    pair: &[Given; 2],
    typed: &str,
    tie: &str,
    seen: impl Fn(Command) -> String,
) {
    use Source::{CommandLine, Environment, File};
    let [first, second] = pair;
    for one in [File, Environment, CommandLine] {
        for other in [File, Environment, CommandLine] {
            let dir = Dir::new();
            let expected = match one.cmp(&other) {
                std::cmp::Ordering::Greater => first.name,
                std::cmp::Ordering::Less => second.name,
                std::cmp::Ordering::Equal if one == CommandLine => typed,
                std::cmp::Ordering::Equal => tie,
            };
            let got = seen(command(&dir, base, [(first, one), (second, other)]));
            assert_eq!(
                got, expected,
                "{} from {one:?}, {} from {other:?}",
                first.name, second.name
            );
        }
    }
}

const REFUSED: &str = "refused";

#[test]
fn lock_waits_as_the_stronger_source_says() {
    let (server, dir) = (Server::in_memory(), Dir::new());
    let mut holder = holder_of(&server, &dir, "a", &[]);
    let base = ["lock", "--server", &server.address, "a", "--", "true"];
    let pair = [
        Given::new("lock", "try", "true"),
        Given::new("lock", "wait", "100ms"),
    ];
    each_way(&base, &pair, REFUSED, REFUSED, |mut command| {
        let output = command.output().unwrap();
        let text = stderr(&output);
        match output.status.code() {
            Some(125) if text.contains("--try and --wait") => REFUSED.to_owned(),
            Some(124) if text.contains("--try does not wait") => "try".to_owned(),
            Some(124) if text.contains("given by --wait") => "wait".to_owned(),
            code => format!("{code:?} {text}"),
        }
    });
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// Starts a server: whether it serves, or what it says instead.
fn serves(mut command: Command) -> Result<(), String> {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    // It fails when it has ended already.
    let _ = child.kill();
    let mut text = String::new();
    child
        .stderr
        .as_mut()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    if line.starts_with("listening on") {
        Ok(())
    } else {
        Err(text)
    }
}

#[test]
fn a_server_keeps_its_locks_where_the_stronger_source_says() {
    let dir = Dir::new();
    let base = ["serve", "--listen", "127.0.0.1:0"];
    let pair = [
        Given::new("serve", "data", dir.path("data")),
        Given::new("serve", "memory", "true"),
    ];
    each_way(&base, &pair, REFUSED, REFUSED, |command| {
        let result = serves(command);
        let stored = std::fs::remove_dir_all(dir.path("data")).is_ok();
        match result {
            Ok(()) if stored => "data".to_owned(),
            Ok(()) => "memory".to_owned(),
            Err(text) if text.contains("--data and --memory") => REFUSED.to_owned(),
            Err(text) => text,
        }
    });
    for (name, value) in [
        ("id", "1"),
        ("peers", "1=a:1/b:2"),
        ("peer-listen", "a:1"),
        ("cluster-name", "ours"),
        ("heartbeat", "1s"),
        ("election-timeout", "9s"),
        ("node-timeout", "99s"),
    ] {
        let pair = [
            Given::new("serve", name, value),
            Given::new("serve", "memory", "true"),
        ];
        each_way(&base, &pair, REFUSED, REFUSED, |command| {
            match serves(command) {
                Ok(()) => "memory".to_owned(),
                // What is left of it is a node without a place for its data.
                Err(text) if text.contains("where should the server keep") => name.to_owned(),
                Err(text) if text.contains("in memory") || text.contains("--id too") => {
                    REFUSED.to_owned()
                }
                Err(text) => text,
            }
        });
    }
}

#[test]
fn a_measurement_is_of_what_the_stronger_source_says() {
    let base = [
        "bench",
        "--for",
        "20ms",
        "--warm-up",
        "0s",
        "--clients",
        "1",
    ];
    let server = Given::new("bench", "server", "127.0.0.1:1");
    let memory = Given::new("bench", "spawn-memory", "true");
    // No directory can be made there.
    let data = Given::new("bench", "spawn-data", "/dev/null");
    let seen = |mut command: Command| {
        let output = command.output().unwrap();
        match output.status.code() {
            Some(0) => "spawn-memory".to_owned(),
            Some(1) => "spawn-data".to_owned(),
            Some(69) => "server".to_owned(),
            Some(2) => REFUSED.to_owned(),
            code => format!("{code:?}"),
        }
    };
    let pair = [server.clone(), memory.clone()];
    each_way(&base, &pair, REFUSED, "spawn-memory", seen);
    each_way(&base, &[server, data.clone()], REFUSED, "spawn-data", seen);
    each_way(&base, &[data, memory], REFUSED, REFUSED, seen);
}

#[test]
fn what_is_no_number_is_said_to_be_none() {
    let mut count = 0;
    for command in [
        "serve",
        "bench",
        "lock",
        "release",
        "renew",
        "break",
        "cluster add",
        "cluster remove",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let help = stdout(&run(&[&words[..], &["--help"]].concat()));
        // `--keys <N>`, `-E, --conflict-exit-code <CODE>`.
        let options = help.lines().filter_map(|line| line.trim().split_once("--"));
        let numbers = options.filter_map(|(_, option)| {
            let (name, value) = option.split_once(" <")?;
            ["N>", "N,N..>", "CODE>"].contains(&value).then_some(name)
        });
        for name in numbers {
            for value in ["x", "", "-1", "1.5", "99999999999999999999"] {
                let given = format!("--{name}={value}");
                let output = run(&[&words[..], &[given.as_str()]].concat());
                let said = stderr(&output);
                assert!(
                    said.contains("expected a whole number from "),
                    "{command} {given}: {said}"
                );
                assert!(
                    [2, 125].contains(&code(&output)),
                    "{command} {given}: {output:?}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 18, "{count} options");
    let tokens = run(&["release", "a", "--token", "x"]);
    assert!(stderr(&tokens).contains("expected a whole number from 0 to 18446744073709551615"));
    let id = run(&["cluster", "remove", "x"]);
    assert!(
        stderr(&id).contains("expected a whole number from 1 to "),
        "{}",
        stderr(&id)
    );
}
