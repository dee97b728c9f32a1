//! The command, and all that it has started.

use super::terminal;
use crate::{os, output};
use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{SigSet, Signal, kill, killpg},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{collections::BTreeSet, fs, io, process::Command, thread, time::Duration};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

/// How long to wait between two looks at whether processes that were killed are dead.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A command that runs.
#[derive(Debug)]
pub(super) struct Job {
    /// Of the command, and of its process group.
    pid: Pid,
    children_change: Signals,
    /// Children of this process from before it became this program.
    not_ours: BTreeSet<Pid>,
    ended: bool,
    /// Those that cannot be sent signals, and whether the lock was lost when that was told.
    out_of_reach: BTreeSet<(Pid, bool)>,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It ended, with this code or by this signal.
    Exited(i32),
    Signaled(i32),
    /// It was stopped by this signal.
    Stopped(Signal),
}

impl Job {
    /// Starts a command, which blocks the signals in `mask`.
    pub(super) fn start(mut command: Command, mask: SigSet) -> io::Result<Job> {
        let children_change = signal(SignalKind::child())?;
        // Whose parent has died becomes our child: so nothing that the command started escapes.
        #[cfg(target_os = "linux")]
        prctl::set_child_subreaper(true)?;
        let not_ours = children();
        os::bind_to_us(&mut command, terminal::is_to_give(), Some(mask));
        let started = command.spawn()?;
        let pid = i32::try_from(started.id()).map(Pid::from_raw);
        Ok(Job {
            pid: pid.expect("the system's own numbers of processes fit"),
            children_change,
            not_ours,
            ended: false,
            out_of_reach: BTreeSet::new(),
        })
    }

    /// Its process group.
    pub(super) fn group(&self) -> Pid {
        self.pid
    }

    /// What becomes of the command next; never, once it has ended. Cancel safe.
    pub(super) async fn change(&mut self) -> Change {
        loop {
            if let Some(change) = self.reap() {
                return change;
            }
            self.children_change.recv().await;
        }
    }

    /// Takes note of all children that have ended, and tells of the command.
    fn reap(&mut self) -> Option<Change> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        loop {
            let (pid, change) = match waitpid(None, Some(flags)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Change::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Change::Signaled(signal as i32)),
                Ok(WaitStatus::Stopped(pid, signal)) => (pid, Change::Stopped(signal)),
                Err(Errno::EINTR) => continue,
                Ok(WaitStatus::StillAlive) | Err(_) => return None,
                Ok(_) => continue,
            };
            if pid == self.pid && !self.ended {
                self.ended = !matches!(change, Change::Stopped(_));
                return Some(change);
            }
        }
    }

    /// Sends a signal to the command's process group.
    pub(super) fn signal(&mut self, signal: i32) {
        if let Ok(signal) = Signal::try_from(signal) {
            let sent = killpg(self.pid, signal);
            self.check(self.pid, signal, sent, None);
        }
    }

    /// Sends a signal to all that the command has started, since its lock is lost.
    fn signal_all(&mut self, signal: Signal, why: &str) {
        let sent = killpg(self.pid, signal);
        self.check(self.pid, signal, sent, Some(why));
        for child in self.descendants() {
            let sent = kill(child, signal);
            self.check(child, signal, sent, Some(why));
        }
    }

    /// Says at once, and once of each, that a process cannot be sent signals: it is another
    /// user's, as what `sudo` starts. `lost` is why the lock is lost, if it is.
    fn check(&mut self, process: Pid, signal: Signal, sent: nix::Result<()>, lost: Option<&str>) {
        // Otherwise it fails when no process is left.
        if sent != Err(Errno::EPERM) || !self.out_of_reach.insert((process, lost.is_some())) {
            return;
        }
        let name = name_of(process);
        let why = Errno::EPERM.desc();
        let message = match lost {
            Some(lost) => format!(
                "lockwright: the lock is lost: {lost}; but process {process}{name} cannot be sent \
                 {signal} ({why}), and goes on without the lock: end it by other means"
            ),
            None => format!("lockwright: process {process}{name} cannot be sent {signal} ({why})"),
        };
        // The reader of stderr may be slow, and the rest is to be ended in time.
        thread::spawn(move || output::tell(&message));
    }

    /// Asks all that the command has started to end, since its lock is lost.
    pub(super) fn ask_to_end(&mut self, why: &str) {
        for signal in [Signal::SIGTERM, Signal::SIGCONT] {
            self.signal_all(signal, why);
        }
    }

    /// Whether anything is left of the command: itself, its process group, or those who left it
    /// and lost their parents.
    pub(super) fn is_over(&mut self) -> bool {
        self.reap();
        self.ended && killpg(self.pid, None) == Err(Errno::ESRCH) && self.descendants().is_empty()
    }

    /// Waits until nothing is left of the command.
    pub(super) async fn over(&mut self) {
        while !self.is_over() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends all that the command has started, at once.
    pub(super) async fn kill(&mut self, why: &str) {
        // Who dies makes orphans, which become our children.
        loop {
            self.signal_all(Signal::SIGKILL, why);
            if self.is_over() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Our children: the command, and what it has left behind.
    fn descendants(&self) -> BTreeSet<Pid> {
        &children() - &self.not_ours
    }
}

/// The name of a process in brackets, where the system tells it.
fn name_of(process: Pid) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.map_or_else(|_| String::new(), |name| format!(" ({})", name.trim()))
}

/// The children of this process; none where the system cannot tell.
fn children() -> BTreeSet<Pid> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| {
            let pids = children.split_ascii_whitespace().map(str::parse);
            pids.flatten().map(Pid::from_raw).collect::<Vec<_>>()
        })
        .collect()
}
