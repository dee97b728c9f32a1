//! Lines of the log on their way to stderr.
//!
//! The reader of stderr may be slow, or stuck. What is logged must not wait for it: the one task that decides
//! the order of things logs, too. Lines wait here for a thread of their own; what comes when too much waits is
//! lost, and counted.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Bytes of lines that may wait.
const BYTES_MAX: usize = 1 << 20;

/// How long what waits is given to be written when the process ends.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Where lines wait. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Of all lines.
    bytes: usize,
    /// Lines that had no room since that was told last.
    lost: u64,
    /// Whether a line is being written.
    is_writing: bool,
}

/// Gives what waits a moment to be written when it is dropped.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub(crate) struct Flush(Queue);

impl Queue {
    /// Begins to write the lines; `tell` is told, on the thread that writes, how many were lost.
    pub(super) fn write_to(
        &self,
        mut to: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Flush> {
        let queue = self.clone();
        let writing = move || {
            loop {
                let (line, lost) = queue.next();
                // There is no place to tell of a stderr that takes nothing.
                let _ = to.write_all(&line);
                if lost > 0 {
                    tell(lost);
                }
                queue.locked().is_writing = false;
                queue.0.changed.notify_all();
            }
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(writing)?;
        Ok(Flush(self.clone()))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.locked();
        if state.bytes + line.len() > BYTES_MAX {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    /// Waits for the next line. Gives it, and how many were lost since the last one.
    fn next(&self) -> (Vec<u8>, u64) {
        let mut state = self.locked();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return (line, std::mem::take(&mut state.lost));
            }
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A line is written at once.
impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let state = self.0.locked();
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        // What is not written by then has a reader that is stuck.
        let waited = self
            .0
            .0
            .changed
            .wait_timeout_while(state, END_PATIENCE, is_busy);
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Writes nothing before it is let.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // It fails when it is let for good.
            let _ = self.0.recv();
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_wait_for_a_reader_up_to_a_bound_and_what_is_lost_is_counted() {
        let (let_go, stuck) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let (told, losses) = mpsc::channel();
        let mut queue = Queue::default();
        let flush = queue
            .write_to(Stuck(stuck, written), move |lost| told.send(lost).unwrap())
            .unwrap();
        let line = vec![b'x'; BYTES_MAX / 8];
        for _ in 0..100 {
            queue.write_all(&line).unwrap();
        }
        drop(let_go);
        drop(flush);
        let written = lines.try_iter().count();
        let lost: u64 = losses.try_iter().sum();
        assert!((8..=9).contains(&written), "{written}");
        assert_eq!(lost, 100 - u64::try_from(written).unwrap());
    }
}
