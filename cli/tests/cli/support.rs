//! A server in a process of its own, a directory of its own, and the binary.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

/// Longer than anything takes on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of its own for a test, gone with it.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "lockwright-cli-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory for the test");
        Dir(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("it is ours to write to");
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The binary, with an environment that says nothing to it.
pub(crate) fn lockwright(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockwright"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOCKWRIGHT_") {
            command.env_remove(name);
        }
    }
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The binary, as it is when its caller has set up signals in its own way: `block` and `ignore` are
/// names of signals.
pub(crate) fn with_signals(block: &[&str], ignore: &[&str], command: &Command) -> Command {
    const START: &str = "import os, signal, sys\n\
        block, ignore, program = sys.argv[1].split(), sys.argv[2].split(), sys.argv[3:]\n\
        for name in ['SIGPIPE', 'SIGCHLD']: signal.signal(getattr(signal, name), signal.SIG_DFL)\n\
        for name in ignore: signal.signal(getattr(signal, name), signal.SIG_IGN)\n\
        signal.pthread_sigmask(signal.SIG_SETMASK, [getattr(signal, name) for name in block])\n\
        os.execv(program[0], program)\n";
    let mut start = Command::new("python3");
    start
        .args(["-c", START, &block.join(" "), &ignore.join(" ")])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => start.env(name, value),
            None => start.env_remove(name),
        };
    }
    start
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    start
}

pub(crate) fn run(args: &[&str]) -> Output {
    lockwright(args).output().expect("the binary is there")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it exits by itself")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("it is text")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("it is text")
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Where a server listens that was just started, as it says itself.
pub(crate) fn address_of(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is a pipe"))
        .read_line(&mut line)
        .expect("it is text");
    let address = line.trim().strip_prefix("listening on ");
    let address = address.unwrap_or_else(|| panic!("it said: {line:?}"));
    address.to_owned()
}

/// A server that runs; killed with the test.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) child: Child,
}

impl Server {
    pub(crate) fn in_memory() -> Server {
        Server::start(&["--memory"])
    }

    pub(crate) fn start(args: &[&str]) -> Server {
        Server::start_on("127.0.0.1:0", args)
    }

    pub(crate) fn start_on(listen: &str, args: &[&str]) -> Server {
        let mut command = lockwright(&["serve", "--listen", listen]);
        let mut child = command
            .args(args)
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary is there");
        let address = address_of(&mut child);
        Server { address, child }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(pid(&self.child), signal).expect("it runs");
    }

    /// `lockwright lock` at this server.
    pub(crate) fn lock(&self, args: &[&str]) -> Command {
        let mut command = lockwright(&["lock", "--server", &self.address]);
        command.args(args);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("it is a process"))
}

/// Lines as they come; one that does not come in time is a failure, and no end of waiting.
pub(crate) struct LinesInTime(mpsc::Receiver<String>);

impl LinesInTime {
    pub(crate) fn of(out: impl Read + Send + 'static) -> LinesInTime {
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        LinesInTime(told)
    }

    /// The next one.
    pub(crate) fn line(&self) -> String {
        let line = self.0.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("a line: {error} within {PATIENCE:?}"))
    }

    /// All that still comes, to the end.
    pub(crate) fn rest(&self) -> String {
        let mut rest = String::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => rest = rest + &line + "\n",
                Err(mpsc::RecvTimeoutError::Disconnected) => return rest,
                Err(error) => panic!("the end: {error} within {PATIENCE:?}, after {rest}"),
            }
        }
    }
}

/// A command that holds a lock with these options until it is killed, once it does.
pub(crate) fn holder_of(server: &Server, dir: &Dir, name: &str, options: &[&str]) -> Child {
    let held = format!("held-{name}");
    let script = format!("touch {}; sleep 60", dir.path(&held));
    let mut command = server.lock(options);
    let child = command.args([name, "--", "sh", "-c", &script]).spawn();
    eventually("it is held", || dir.has(&held));
    child.expect("the binary is there")
}

/// Runs `lockwright COMMAND --server THIS ARGS..`.
pub(crate) fn ask(server: &Server, args: &[&str]) -> Output {
    let (command, rest) = args.split_first().unwrap();
    run(&[&[*command, "--server", &server.address], rest].concat())
}

/// What it prints, when all is well.
pub(crate) fn said(server: &Server, args: &[&str]) -> String {
    let output = ask(server, args);
    assert_eq!(code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// A text that is JSON.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}
