//! Who may ask a server: names, pages, operators, nodes.

use crate::support::{
    Dir, Server, address_of, code, eventually, lockwright, pid, run, stderr, stdout,
};
use std::{
    fs::{Permissions, set_permissions},
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

const TOKEN: &str = "a-token-of-the-operators";

/// A file with a secret that no other user may read.
fn secret_file(dir: &Dir, name: &str, text: &str) -> String {
    let path = dir.write(name, text);
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn operators_need_the_token_that_the_server_has() {
    let dir = Dir::new();
    let right = secret_file(&dir, "right", &format!("{TOKEN}\n"));
    let wrong = secret_file(&dir, "wrong", "a-token-of-somebody-else");
    let server = Server::start(&["--memory", "--admin-token-file", &right]);
    let ask = |args: &[&str]| {
        let (command, rest) = args.split_first().unwrap();
        run(&[&[*command, "--server", &server.address], rest].concat())
    };
    assert_eq!(code(&ask(&["acquire", "a"])), 0);
    for (args, expected) in [
        (vec!["break", "a", "--yes"], "admin token is missing"),
        (vec!["end-session", "x", "--yes"], "admin token is missing"),
        (vec!["cluster", "remove", "2"], "admin token is missing"),
        (
            vec!["break", "a", "--yes", "--admin-token-file", &wrong],
            "is another one",
        ),
    ] {
        let output = ask(&args);
        let text = stderr(&output);
        assert_eq!(code(&output), 1, "{args:?}: {text}");
        assert!(
            text.contains("unauthorized") && text.contains(expected),
            "{text}"
        );
        assert!(!text.contains("a-token-of"), "{text}");
    }
    let view = ask(&["cluster", "status"]);
    assert_eq!(code(&view), 0, "to look needs none: {}", stderr(&view));
    let broken = ask(&["break", "a", "--yes", "--admin-token-file", &right]);
    assert_eq!(code(&broken), 0, "{}", stderr(&broken));
    assert_eq!(stderr(&broken), "");
    // By its variable, and by a file of settings, for all of these commands.
    assert_eq!(code(&ask(&["acquire", "a"])), 0);
    let mut command = lockwright(&["break", "a", "--yes", "--server", &server.address]);
    let output = command.env("LOCKWRIGHT_ADMIN_TOKEN_FILE", &right).output();
    assert_eq!(code(&output.unwrap()), 0);
    let settings = dir.write("settings", &format!("admin_token_file = '{right}'\n"));
    let output = ask(&["cluster", "remove", "2", "--config", &settings]);
    assert!(stderr(&output).contains("conflict"), "{}", stderr(&output));
}

#[test]
fn a_server_that_others_reach_does_nothing_for_operators_without_a_token() {
    let server = Server::start_on("0.0.0.0:0", &["--memory"]);
    let address = server.address.replace("0.0.0.0", "127.0.0.1");
    let output = run(&["break", "a", "--yes", "--server", &address]);
    let text = stderr(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(
        text.contains("forbidden") && text.contains("--admin-token-file"),
        "{text}"
    );
    let output = run(&["acquire", "a", "--server", &address]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn a_file_that_has_no_secret_is_told() {
    let dir = Dir::new();
    let short = secret_file(&dir, "short", "short\n");
    let blank = secret_file(&dir, "blank", "two words that are long enough\n");
    let missing = dir.path("missing");
    for (file, expected) in [
        (&short, "5 bytes"),
        (&blank, "byte 4"),
        (&missing, "cannot be read"),
    ] {
        let serve = [
            "serve",
            "--memory",
            "--listen",
            "127.0.0.1:0",
            "--admin-token-file",
            file,
        ];
        let breaks = ["break", "a", "--yes", "--admin-token-file", file];
        let data = dir.path("data");
        let node = [
            "serve",
            "--data",
            &data,
            "--id",
            "1",
            "--peer-listen",
            "127.0.0.1:0",
            "--cluster-secret-file",
            file,
        ];
        for args in [&serve[..], &breaks, &node] {
            let output = run(args);
            let text = stderr(&output);
            assert_eq!(code(&output), 2, "{args:?}: {text}");
            assert!(text.contains(expected) && text.contains(file), "{text}");
        }
    }
    let open = dir.write("open", TOKEN);
    set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let output = run(&[
        "break",
        "a",
        "--yes",
        "--server",
        "127.0.0.1:1",
        "--admin-token-file",
        &open,
    ]);
    let text = stderr(&output);
    assert!(
        text.contains("other users") && text.contains("chmod 600"),
        "{text}"
    );
}

#[test]
fn names_and_pages_that_are_allowed_are_served() {
    let wrong = |args: &[&str]| {
        let output = run(&[&["serve", "--memory"], args].concat());
        assert_eq!(code(&output), 2);
        stderr(&output)
    };
    assert!(wrong(&["--allow-host", "a:9009"]).contains("without a port"));
    assert!(wrong(&["--allow-origin", "example.net"]).contains("https://example.net"));
    assert!(wrong(&["--allow-origin", "https://example.net/"]).contains("no origin"));
    let args = [
        "--memory",
        "--allow-host",
        "locks.example.net,*.test",
        "--allow-origin",
        "https://ours.test",
    ];
    let server = Server::start(&args);
    let status = |lines: &str| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        write!(
            stream,
            "GET /v1/stats HTTP/1.1\r\nconnection: close\r\n{lines}\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    for host in [
        "locks.example.net",
        "a.test:80",
        "localhost",
        "127.0.0.1:9",
        &own,
    ] {
        assert_eq!(status(&format!("host: {host}")), "200", "{host}");
    }
    assert_eq!(status("host: example.net"), "403");
    assert_eq!(
        status("host: localhost\r\norigin: https://ours.test"),
        "200"
    );
    assert_eq!(
        status("host: localhost\r\norigin: https://others.test"),
        "403"
    );
}

#[test]
fn a_client_is_told_what_to_do_when_the_server_does_not_know_its_name() {
    let server = Server::in_memory();
    let port = server.address.rsplit_once(':').unwrap().1.to_owned();
    // A name of this machine's loopback that is not `localhost`, where the system has one.
    let names = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let other = names
        .lines()
        .filter(|line| line.split_whitespace().next() == Some("127.0.0.1"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .find(|name| *name != "localhost" && *name != own && !name.ends_with(".localhost"));
    let Some(other) = other else {
        println!("this machine has no other name for loopback");
        return;
    };
    let address = format!("{other}:{port}");
    for args in [
        vec!["ls", "--server", &address],
        vec![
            "lock",
            "--server",
            &address,
            "--connect-timeout",
            "1s",
            "a",
            "--",
            "true",
        ],
    ] {
        let output = run(&args);
        let text = stderr(&output);
        assert_ne!(code(&output), 0);
        assert!(
            text.contains(&format!("--allow-host {other}")),
            "{args:?}: {text}{}",
            stdout(&output)
        );
    }
}

#[test]
fn connections_leave_open_files_to_the_server() {
    let dir = Dir::new();
    let data = dir.path("data");
    let mut command = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_lockwright");
    let limited = "ulimit -n 100 && exec \"$0\" serve --data \"$1\" --listen 127.0.0.1:0";
    let command = command.args(["-c", limited, program, &data]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = address_of(&mut child);
    let crowd: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    // Some are taken, and it goes on as before when they have gone.
    drop(crowd);
    eventually("there is room again", || {
        code(&run(&["acquire", "a", "--server", &address])) == 0
    });
    nix::sys::signal::kill(pid(&child), nix::sys::signal::Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let log = stderr(&output);
    assert_eq!(code(&output), 0, "{log}");
    assert!(log.contains("--connections-max 18"), "{log}");
    assert!(!log.contains("could not be taken"), "{log}");
}
