//! The signals that a wrapper of a command has to pass on.

use crate::os;
use nix::sys::signal::{SigSet, Signal};
use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Those that are passed on.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Has all signals that are waited for come through, also when the caller of this process has
/// blocked them, and gives the mask from before, which is the command's. Call it before there are
/// threads.
pub(super) fn unblock() -> io::Result<SigSet> {
    os::unblock(PASSED_ON.into_iter().chain([Signal::SIGCHLD]))
}

/// Signals that came to this process.
#[derive(Debug)]
pub(super) struct Signals {
    came: mpsc::UnboundedReceiver<i32>,
    _keep_open: mpsc::UnboundedSender<i32>,
}

impl Signals {
    /// Starts to catch them, but for those that this process was told to ignore: so is the
    /// command. Must be called within a runtime.
    pub(super) fn catch() -> io::Result<Signals> {
        let (tell, came) = mpsc::unbounded_channel();
        for number in PASSED_ON.map(|signal| signal as i32) {
            if os::is_ignored(number) {
                continue;
            }
            let mut signals = signal(SignalKind::from_raw(number))?;
            let tell = tell.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && tell.send(number).is_ok() {}
            });
        }
        Ok(Signals {
            came,
            _keep_open: tell,
        })
    }

    /// The number of the next one. Cancel safe.
    pub(super) async fn next(&mut self) -> i32 {
        let next = self.came.recv().await;
        next.expect("we have a sender ourselves")
    }
}
