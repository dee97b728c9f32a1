//! Stderr, which may have a reader that is slow or stuck: nothing waits for it longer than it means to.
//!
//! The standard library has a lock that is held while stderr takes nothing, and then holds up all who have
//! something to say, for ever. Here it is never taken.

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};
use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, Instant},
};

/// How long a line is tried to be said.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks at what takes a while.
const MOMENT: Duration = Duration::from_millis(1);

/// Of whoever says something: lines stay whole. It may be held for ever.
static TURN: Mutex<()> = Mutex::new(());

/// Of whoever writes what there is room for: no other thread takes it meanwhile.
static WRITE: Mutex<()> = Mutex::new(());

/// Says something, unless it cannot be said in time.
pub(crate) fn say(text: &[u8]) -> io::Result<()> {
    say_to(io::stderr(), text, PATIENCE)
}

fn say_to(to: impl AsFd, text: &[u8], patience: Duration) -> io::Result<()> {
    let start = Instant::now();
    // Better in the middle of a line than not at all.
    let _turn = lock(&TURN, Some(start + patience / 2));
    write_all(to, text, Some(start + patience))
}

/// Stderr for a thread that may wait for it.
pub(crate) struct Patient;

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_some(io::stderr(), bytes, None)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let _turn = lock(&TURN, None);
        write_all(io::stderr(), bytes, None)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for a lock, not beyond `until`.
fn lock(mutex: &Mutex<()>, until: Option<Instant>) -> Option<MutexGuard<'_, ()>> {
    let Some(until) = until else {
        return Some(mutex.lock().unwrap_or_else(PoisonError::into_inner));
    };
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(error)) => return Some(error.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(MOMENT),
        }
    }
}

fn write_all(to: impl AsFd, mut bytes: &[u8], until: Option<Instant>) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[write_some(&to, bytes, until)?..];
    }
    Ok(())
}

/// Writes as much as there is room for, as soon as there is.
fn write_some(to: impl AsFd, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
    // A pipe that takes anything takes so much without a wait.
    let piece = &bytes[..bytes.len().min(libc::PIPE_BUF)];
    let timed_out = || io::Error::from(io::ErrorKind::TimedOut);
    loop {
        if !has_room(&to, until)? {
            return Err(timed_out());
        }
        let writing = lock(&WRITE, until).ok_or_else(timed_out)?;
        // Another may have taken the room.
        if has_room(&to, Some(Instant::now()))? {
            match unistd::write(&to, piece) {
                Ok(written) => return Ok(written),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        drop(writing);
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(timed_out());
        }
        thread::sleep(MOMENT);
    }
}

/// Waits until something can be written, or until it is known that nothing ever can; not beyond `until`.
fn has_room(to: &impl AsFd, until: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = match left {
            None => PollTimeout::NONE,
            Some(left) => PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut [PollFd::new(to.as_fd(), PollFlags::POLLOUT)], timeout) {
            Ok(0) if left.is_none_or(|left| left >= MOMENT) => {}
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::{io::Read, os::fd::OwnedFd};

    /// A pipe that takes nothing more, and how much it has.
    fn full_pipe() -> (OwnedFd, OwnedFd, usize) {
        let (reader, writer) = unistd::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut filled = 0;
        while let Ok(written) = unistd::write(&writer, &[b'x'; 4096]) {
            filled += written;
        }
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        (reader, writer, filled)
    }

    #[test]
    fn what_nobody_reads_holds_up_nothing_for_long() {
        let (_reader, writer, _) = full_pipe();
        let patience = Duration::from_millis(50);
        let said = say_to(&writer, b"a", patience);
        assert_eq!(said.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Nor does a thread that waits for the same reader in the midst of a text.
        let turn = lock(&TURN, None);
        let said = say_to(&writer, b"a", patience);
        assert_eq!(said.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(turn);
    }

    #[test]
    fn a_long_text_arrives_whole_at_a_reader_that_is_slow() {
        let (reader, writer, filled) = full_pipe();
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_ne_bytes).collect();
        let expected = text.clone();
        for is_blocking in [true, false] {
            let (reader, writer) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
            if !is_blocking {
                fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            }
            let text = text.clone();
            let writing = thread::spawn(move || write_all(&writer, &text, None));
            let mut heard = vec![0; expected.len() + if is_blocking { filled } else { 0 }];
            std::fs::File::from(reader).read_exact(&mut heard).unwrap();
            writing.join().unwrap().unwrap();
            assert!(heard.ends_with(&expected), "{is_blocking}");
        }
    }
}
