//! The signals that a wrapper of a command has to pass on.

use crate::os;
use std::io;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

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
        let all = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        for kind in all {
            let number = kind.as_raw_value();
            if os::is_ignored(number) {
                continue;
            }
            let mut signals = signal(kind)?;
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
