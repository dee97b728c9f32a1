//! Lines of the log on their way to stderr.
//!
//! The reader of stderr may be slow, or stuck. What is logged must not wait for it: the one task that decides
//! the order of things logs, too. Lines wait here for a thread of their own. For one that gets on, a line
//! without room waits a moment; then, or if the thread is stuck, it is lost, and a notice stands in its place.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long what waits is given to be written when the process ends.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Lines of so many bytes are written at once.
const CHUNK_BYTES: usize = 32 << 10;

/// What is waited for, and how much may wait.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of lines that wait or are being written. One line may have more, alone.
    bytes: usize,
    /// How many more there may be for warnings and errors.
    urgent_bytes: usize,
    /// A chunk that takes longer has a reader that is stuck, as far as can be known.
    stuck_after: Duration,
    /// How long lines wait for room, all those of a second together.
    wait_per_second: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 16 << 20,
            urgent_bytes: 1 << 20,
            stuck_after: Duration::from_millis(10),
            wait_per_second: Duration::from_millis(50),
        }
    }
}

/// Where lines wait. Clones are the same queue.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Of all lines that wait or are being written.
    bytes: usize,
    /// Lines that had no room, later than all that wait.
    lost: u64,
    /// Since when what is being written is.
    writing_since: Option<Instant>,
    /// How much has been waited for room, since when.
    waited: Duration,
    waited_since: Option<Instant>,
}

#[derive(Debug)]
enum Piece {
    /// Whole lines.
    Lines(Vec<u8>),
    /// So many lines are lost here.
    Lost(u64),
}

impl State {
    fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(bytes) <= bytes_max
    }

    fn is_busy(&self) -> bool {
        self.writing_since.is_some() || !self.pieces.is_empty() || self.lost > 0
    }

    fn push(&mut self, line: &[u8]) {
        self.note_lost();
        self.bytes += line.len();
        match self.pieces.back_mut() {
            Some(Piece::Lines(lines)) if lines.len() + line.len() <= CHUNK_BYTES => {
                lines.extend_from_slice(line);
            }
            _ => self.pieces.push_back(Piece::Lines(line.to_vec())),
        }
    }

    /// What comes from now on comes after what was lost.
    fn note_lost(&mut self) {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.pieces.push_back(Piece::Lost(lost));
        }
    }
}

/// Gives what waits a moment to be written when it is dropped.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub(crate) struct Flush(Queue);

impl Queue {
    /// Begins to write the lines. `notice` is the line that says how many are lost.
    pub(super) fn write_to(
        &self,
        mut to: impl Write + Send + 'static,
        notice: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Flush> {
        let queue = self.clone();
        let writing = move || {
            loop {
                for piece in queue.take() {
                    let (lines, waited) = match piece {
                        Piece::Lines(lines) => (lines, true),
                        Piece::Lost(lost) => (notice(lost), false),
                    };
                    // There is no place to tell of a stderr that takes nothing.
                    let _ = to.write_all(&lines);
                    queue.written(if waited { lines.len() } else { 0 });
                }
                queue.locked().writing_since = None;
                queue.0.changed.notify_all();
            }
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(writing)?;
        Ok(Flush(self.clone()))
    }

    /// The lines that wait, of a queue that is not written.
    pub(super) fn drain(&self) -> Vec<u8> {
        let mut state = self.locked();
        state.bytes = 0;
        let pieces = state.pieces.drain(..);
        let lines = pieces.filter_map(|piece| match piece {
            Piece::Lines(lines) => Some(lines),
            Piece::Lost(_) => None,
        });
        lines.flatten().collect()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        let state = self.0.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8], is_urgent: bool) {
        let limits = &self.0.limits;
        let more = if is_urgent { limits.urgent_bytes } else { 0 };
        let bytes_max = limits.bytes + more;
        let mut state = self.locked();
        if !state.has_room(line.len(), bytes_max) {
            state = self.wait_for_room(state, line.len(), bytes_max);
        }
        let is_idle = !state.is_busy();
        if state.has_room(line.len(), bytes_max) {
            state.push(line);
        } else {
            state.lost += 1;
        }
        drop(state);
        if is_idle {
            self.0.changed.notify_all();
        }
    }

    /// Waits a moment for room, while the thread that writes gets on.
    fn wait_for_room<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        bytes: usize,
        bytes_max: usize,
    ) -> MutexGuard<'a, State>
    where
        Self: 'a,
    {
        let limits = self.0.limits;
        let start = Instant::now();
        let is_fresh = |since: Instant| start.duration_since(since) < Duration::from_secs(1);
        if !state.waited_since.is_some_and(is_fresh) {
            state.waited_since = Some(start);
            state.waited = Duration::ZERO;
        }
        let before = state.waited;
        while !state.has_room(bytes, bytes_max) {
            let now = Instant::now();
            state.waited = before + now.duration_since(start);
            let chunk = state
                .writing_since
                .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            let left = limits.stuck_after.saturating_sub(chunk);
            let left = left.min(limits.wait_per_second.saturating_sub(state.waited));
            if left.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// Waits until there is something, and takes all of it.
    fn take(&self) -> VecDeque<Piece> {
        let state = self.locked();
        let waited = self.0.changed.wait_while(state, |state| !state.is_busy());
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.note_lost();
        state.writing_since = Some(Instant::now());
        std::mem::take(&mut state.pieces)
    }

    /// So many bytes of lines that waited are written.
    fn written(&self, bytes: usize) {
        let mut state = self.locked();
        state.bytes -= bytes;
        state.writing_since = Some(Instant::now());
        drop(state);
        self.0.changed.notify_all();
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        let is_urgent = false;
        Line(self, is_urgent)
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line(self, *about.level() <= Level::WARN)
    }
}

/// The way of a line into the queue, and whether it is a warning or an error. It is written at once.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Queue, bool);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line, self.1);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        // What is lost and not told is told, too; what is not written by then has a reader that is stuck.
        let queue = &self.0;
        let busy = |state: &mut State| state.is_busy();
        let waited = queue
            .0
            .changed
            .wait_timeout_while(queue.locked(), END_PATIENCE, busy);
        drop(waited);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogFormat, LogLevel, subscriber};
    use super::*;
    use std::sync::mpsc;
    use tracing::{dispatcher, info, warn};

    const LINE: &[u8] = &[b'x'; 100];
    const ROOM: usize = 10;

    /// Writes nothing before it is let, once for each time.
    struct Stuck {
        let_go: mpsc::Receiver<()>,
        began: mpsc::Sender<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.began.send(());
            // It fails when it is let for good.
            let _ = self.let_go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue with room for ten lines whose writer is stuck.
    struct Script {
        queue: Queue,
        flush: Flush,
        let_go: mpsc::Sender<()>,
        began: mpsc::Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Script {
        fn new(stuck_after: Duration, wait_per_second: Duration) -> Script {
            let limits = Limits {
                bytes: ROOM * LINE.len(),
                urgent_bytes: 2 * LINE.len(),
                stuck_after,
                wait_per_second,
            };
            let queue = Queue(Arc::new(Shared {
                limits,
                ..Shared::default()
            }));
            let (let_go, stuck) = mpsc::channel();
            let (began, begun) = mpsc::channel();
            let written = Arc::new(Mutex::new(Vec::new()));
            let to = Stuck {
                let_go: stuck,
                began,
                written: written.clone(),
            };
            let flush = queue.write_to(to, |lost| format!("<{lost}>").into_bytes());
            Script {
                flush: flush.unwrap(),
                queue,
                let_go,
                began: begun,
                written,
            }
        }

        /// It never waits.
        fn hurried() -> Script {
            Script::new(Duration::ZERO, Duration::ZERO)
        }

        /// Lets all be written; what it was, with a letter for each line.
        fn end(self) -> String {
            drop(self.let_go);
            drop(self.flush);
            let written = String::from_utf8(self.written.lock().unwrap().clone()).unwrap();
            written.replace(&"x".repeat(LINE.len()), "x")
        }
    }

    #[test]
    fn a_notice_stands_where_lines_are_lost() {
        let script = Script::hurried();
        for _ in 0..ROOM {
            script.queue.push(LINE, false);
        }
        script.began.recv().unwrap();
        for _ in 0..7 {
            script.queue.push(LINE, false);
        }
        script.queue.push(b"warning", true);
        for _ in 0..3 {
            script.queue.push(LINE, false);
        }
        let line = "x".repeat(ROOM);
        assert_eq!(script.end(), format!("{line}<7>warning<3>"));
    }

    #[test]
    fn what_is_lost_last_is_told_at_the_end() {
        let script = Script::hurried();
        for _ in 0..ROOM + 5 {
            script.queue.push(LINE, false);
        }
        assert_eq!(script.end(), format!("{}<5>", "x".repeat(ROOM)));
    }

    #[test]
    fn a_line_that_is_longer_than_all_that_may_wait_is_written() {
        let script = Script::hurried();
        let long = "y".repeat(2 * ROOM * LINE.len());
        script.queue.push(long.as_bytes(), false);
        script.queue.push(LINE, false);
        assert_eq!(script.end(), format!("{long}<1>"));
    }

    #[test]
    fn a_writer_that_gets_on_is_waited_for() {
        let hour = Duration::from_secs(3600);
        let script = Script::new(hour, hour);
        let Script { let_go, began, .. } = &script;
        thread::scope(|scope| {
            let queue = script.queue.clone();
            let pushing = scope.spawn(move || {
                for _ in 0..10 * ROOM {
                    queue.push(LINE, false);
                }
            });
            while !pushing.is_finished() {
                if began.recv_timeout(Duration::from_millis(1)).is_ok() {
                    let_go.send(()).unwrap();
                }
            }
        });
        assert_eq!(script.end(), "x".repeat(10 * ROOM));
    }

    #[test]
    fn lines_wait_for_a_writer_no_longer_than_it_is_stuck_and_than_they_may() {
        let hour = Duration::from_secs(3600);
        let moment = Duration::from_millis(20);
        for (stuck_after, wait_per_second) in [(moment, hour), (hour, moment)] {
            let script = Script::new(stuck_after, wait_per_second);
            for _ in 0..ROOM {
                script.queue.push(LINE, false);
            }
            script.began.recv().unwrap();
            let start = Instant::now();
            for _ in 0..1000 {
                script.queue.push(LINE, false);
            }
            // Each would have been waited for else.
            let waited = start.elapsed();
            assert!(waited < Duration::from_secs(10), "{waited:?}");
            assert!(script.end().ends_with("<1000>"));
        }
    }

    #[test]
    fn many_lines_are_written_at_once() {
        let script = Script::hurried();
        script.queue.push(LINE, false);
        script.began.recv().unwrap();
        for _ in 1..ROOM {
            script.queue.push(LINE, false);
        }
        script.let_go.send(()).unwrap();
        script.began.recv().unwrap();
        script.let_go.send(()).unwrap();
        let began = script.began.try_iter().count();
        assert_eq!((script.end(), began), ("x".repeat(ROOM), 0));
    }

    #[test]
    fn warnings_and_errors_have_room_of_their_own() {
        let script = Script::hurried();
        for _ in 0..ROOM {
            script.queue.push(LINE, false);
        }
        script.began.recv().unwrap();
        let queue = script.queue.clone();
        let all = subscriber(LogFormat::Text, LogLevel::Info, queue);
        dispatcher::with_default(&all, || {
            info!("usual");
            warn!("worse");
        });
        let written = script.end();
        let rest = written.trim_start_matches('x');
        assert!(
            rest.starts_with("<1>") && rest.ends_with("worse\n"),
            "{rest}"
        );
    }
}
