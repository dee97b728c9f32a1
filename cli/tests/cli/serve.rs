//! `lockwright serve`: starting, ending, and what is wrong told plainly.

use crate::support::{Dir, Server, code, lockwright, run, stderr, stdout};
use nix::sys::signal::Signal;

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
