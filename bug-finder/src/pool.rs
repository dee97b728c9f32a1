//! Children: forked, watched, timed, killed.
//!
//! Every run happens in a process of its own kind: what it breaks dies with it, and it starts from
//! the same state whatever ran before.

use crate::frame::{Receiver, Sender};
use crate::last_words::{LastWords, Paper};
use crate::os::{self, Fork, Interrupts};
use crate::patience::{Patience, Reading};
use crate::worker::FAILED;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// One child of a [`Pool`]; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChildId(u64);

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As it should.
    Clean,
    /// It sent nothing for as long as its limit, of the time that it could have used, and was killed
    /// for it.
    TimedOut,
    /// By a signal that this process did not send; none if it is one without a name.
    Signal(Option<Signal>),
    /// With this status, or in the middle of a message.
    Status(i32),
}

impl End {
    /// Whether it was ended from outside: by a signal that a run does not bring upon itself. The
    /// system sends one when memory is short, an operator another, and neither is a fault of the run.
    #[must_use]
    pub fn is_from_outside(self) -> bool {
        match self {
            End::Signal(signal) => !matches!(
                signal,
                Some(
                    Signal::SIGABRT
                        | Signal::SIGSEGV
                        | Signal::SIGBUS
                        | Signal::SIGILL
                        | Signal::SIGFPE
                        | Signal::SIGSYS
                        | Signal::SIGTRAP
                )
            ),
            End::Clean | End::TimedOut | End::Status(_) => false,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Clean => f.write_str("ended without a result"),
            End::TimedOut => f.write_str("did not end in time"),
            End::Signal(Some(signal)) => write!(f, "died of {signal}"),
            End::Signal(None) => f.write_str("died of a signal without a name"),
            End::Status(status) => write!(f, "ended with status {status}"),
        }
    }
}

/// What happened to a child.
#[derive(Debug)]
pub enum Event {
    /// It sent this.
    Message(ChildId, Vec<u8>),
    /// It ended, and left this behind; its last event.
    Ended(ChildId, End, Box<LastWords>),
}

struct Child {
    pid: Pid,
    pipe: OwnedFd,
    receiver: Receiver,
    paper: Paper,
    patience: Patience,
}

impl Child {
    /// Something was heard of it.
    fn heard(&mut self) {
        self.patience.heard(Instant::now());
    }

    /// Whether it has been silent for as long as it may.
    fn is_over(&mut self, now: Instant) -> bool {
        now >= self.patience.look_at() && self.patience.is_over(now, Reading::of(self.pid))
    }
}

/// The children of this process.
pub struct Pool<'a> {
    interrupts: &'a Interrupts,
    children: BTreeMap<ChildId, Child>,
    next_id: u64,
    mute: bool,
}

impl<'a> Pool<'a> {
    /// A pool without children. `mute` says whether what children print on stderr is kept for their last words only.
    #[must_use]
    pub fn new(interrupts: &'a Interrupts, mute: bool) -> Pool<'a> {
        Pool {
            interrupts,
            children: BTreeMap::new(),
            next_id: 0,
            mute,
        }
    }

    /// How many children live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.children.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// Whether this process was asked to end.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.interrupts.pending()
    }

    /// Forks a child that does `body`, sends what it sends, and ends. It is killed when it sends
    /// nothing for `silence_max`, of the time that it could have used.
    ///
    /// # Errors
    /// When the system has no room for another process or pipe.
    pub fn spawn(
        &mut self,
        silence_max: Duration,
        body: impl FnOnce(&mut Sender<File>) -> io::Result<()>,
    ) -> io::Result<ChildId> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let paper = Paper::new()?;
        let parent = nix::unistd::getpid();
        match os::fork()? {
            Fork::Child => {
                drop(read);
                paper.write();
                let stderr = self.mute.then(|| paper.stderr());
                be_a_child(parent, stderr, Sender(File::from(write)), body)
            }
            Fork::Parent(pid) => {
                drop(write);
                let id = ChildId(self.next_id);
                self.next_id += 1;
                let child = Child {
                    pid,
                    pipe: read,
                    receiver: Receiver::default(),
                    paper,
                    patience: Patience::new(silence_max, Instant::now()),
                };
                self.children.insert(id, child);
                Ok(id)
            }
        }
    }

    /// Waits until a child has something to tell, this process is asked to end, or it is `until`.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub fn wait(&mut self, until: Option<Instant>) -> io::Result<Vec<Event>> {
        let ready = self.poll(until)?;
        let mut events = Vec::new();
        for id in ready {
            self.hear(id, &mut events)?;
        }
        let now = Instant::now();
        let silent: Vec<ChildId> = self
            .children
            .iter_mut()
            .filter_map(|(id, child)| child.is_over(now).then_some(*id))
            .collect();
        for id in silent {
            let words = self.end(id, true);
            events.push(Event::Ended(id, End::TimedOut, Box::new(words)));
        }
        Ok(events)
    }

    /// The children that have something to tell, or have ended.
    fn poll(&self, until: Option<Instant>) -> io::Result<Vec<ChildId>> {
        let deadlines = self.children.values().map(|child| child.patience.look_at());
        let timeout = match deadlines.chain(until).min() {
            None => PollTimeout::NONE,
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                // Rounded up, so as not to spin through the last fraction of a millisecond.
                let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
                PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds: Vec<PollFd<'_>> = self
            .children
            .values()
            .map(|child| PollFd::new(child.pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        if !self.interrupted() {
            fds.push(PollFd::new(self.interrupts.wake(), PollFlags::POLLIN));
        }
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        Ok(self
            .children
            .keys()
            .zip(&fds)
            .filter(|(_, fd)| ready(fd))
            .map(|(id, _)| *id)
            .collect())
    }

    /// Takes what a child has sent.
    fn hear(&mut self, id: ChildId, events: &mut Vec<Event>) -> io::Result<()> {
        let Some(child) = self.children.get_mut(&id) else {
            return Ok(());
        };
        let mut bytes = [0; 1 << 16];
        let got = match nix::unistd::read(&child.pipe, &mut bytes) {
            Ok(got) => got,
            Err(Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if got > 0 {
            child.receiver.push(&bytes[..got]);
            while let Some(message) = child.receiver.next_message() {
                child.heard();
                events.push(Event::Message(id, message));
            }
            return Ok(());
        }
        let torn = child.receiver.is_torn();
        let pid = child.pid;
        let end = match reap(pid)? {
            End::Status(0) if !torn => End::Clean,
            end => end,
        };
        let child = self.children.remove(&id);
        let words = child.map_or_else(LastWords::default, |child| child.bury(end != End::Clean));
        events.push(Event::Ended(id, end, Box::new(words)));
        Ok(())
    }

    /// Kills a child, and reads what it left behind if that is wanted.
    fn end(&mut self, id: ChildId, wanted: bool) -> LastWords {
        let Some(child) = self.children.remove(&id) else {
            return LastWords::default();
        };
        // It may have ended already, which is as good.
        let _ = nix::sys::signal::kill(child.pid, Signal::SIGKILL);
        let _ = reap(child.pid);
        child.bury(wanted)
    }

    /// Kills a child; nothing more is heard of it.
    pub fn kill(&mut self, id: ChildId) {
        self.end(id, false);
    }

    /// Kills all children.
    pub fn kill_all(&mut self) {
        while let Some(id) = self.children.keys().next().copied() {
            self.kill(id);
        }
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Child {
    /// What it left behind, once it is dead, if that is wanted: it takes a while to read.
    fn bury(self, wanted: bool) -> LastWords {
        let words = if wanted {
            self.paper.read()
        } else {
            LastWords::default()
        };
        self.paper.put_back();
        words
    }
}

/// Waits for a child that ends, and says how it did.
fn reap(pid: Pid) -> io::Result<End> {
    loop {
        match waitpid(pid, None) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(End::Status(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(End::Signal(Some(signal))),
            Ok(other) => return Err(io::Error::other(format!("child {pid}: {other:?}"))),
            // It is gone, of a signal for which there is a number only.
            Err(Errno::EINVAL) => return Ok(End::Signal(None)),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The life of a child.
fn be_a_child(
    parent: Pid,
    stderr: Option<BorrowedFd<'_>>,
    mut sender: Sender<File>,
    body: impl FnOnce(&mut Sender<File>) -> io::Result<()>,
) -> ! {
    // Ctrl-C on a terminal goes to the whole process group: only the parent is to act on it.
    let _ = nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0));
    os::default_interrupts();
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    if nix::unistd::getppid() != parent {
        // It died before it could be watched.
        os::exit_now(FAILED);
    }
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        // The child's stdin and stdout are the parent's, and not for it to use.
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
    }
    if let Some(stderr) = stderr {
        let _ = nix::unistd::dup2_stderr(stderr);
    }
    // What is simulated may panic as it likes, but no panic may unwind into the parent's frames.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&mut sender)));
    os::exit_now(match done {
        Ok(Ok(())) => 0,
        Ok(Err(_)) | Err(_) => FAILED,
    })
}
