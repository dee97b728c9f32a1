//! How much a server holds of messages and requests that have not come to their end.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// So many bytes are not counted in the sum: each connection has buffers of about this size anyway.
const FREE: usize = 16 << 10;

/// What all connections hold together.
#[derive(Debug)]
pub(crate) struct UnreadSum {
    held: AtomicUsize,
    max: usize,
}

impl UnreadSum {
    pub(crate) fn new(max: usize) -> Arc<UnreadSum> {
        Arc::new(UnreadSum {
            held: AtomicUsize::new(0),
            max,
        })
    }

    /// How many bytes count now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}

/// What one connection holds: what was read of it since the last message or request that was complete.
#[derive(Debug)]
pub(crate) struct Unread {
    held: AtomicUsize,
    max: AtomicUsize,
    sum: Arc<UnreadSum>,
}

impl Unread {
    /// Of a connection for which something else limits what one request may have.
    pub(crate) fn new(sum: Arc<UnreadSum>) -> Arc<Unread> {
        Arc::new(Unread {
            held: AtomicUsize::new(0),
            max: AtomicUsize::new(usize::MAX),
            sum,
        })
    }

    /// From now on it may hold so many bytes.
    pub(crate) fn limit(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// So many bytes have come.
    ///
    /// # Errors
    /// When they are more than it may hold, or all connections together.
    pub(crate) fn add(&self, bytes: usize) -> io::Result<()> {
        let before = self.held.fetch_add(bytes, Relaxed);
        let held = before.saturating_add(bytes);
        let more = charged(held) - charged(before);
        let sum = self.sum.held.fetch_add(more, Relaxed).saturating_add(more);
        let max = self.max.load(Relaxed);
        if held > max {
            return Err(io::Error::other(format!(
                "a message that has not come to its end has more than {max} bytes: the first one opens a \
                 session, or resumes it, and is short"
            )));
        }
        match more > 0 && sum > self.sum.max {
            true => Err(io::Error::other(format!(
                "the server has {} bytes of messages that have not come to their ends, and that is all that \
                 it takes: come later",
                self.sum.max
            ))),
            false => Ok(()),
        }
    }

    /// A message or request is complete.
    pub(crate) fn clear(&self) {
        let before = self.held.swap(0, Relaxed);
        self.discharge(charged(before));
    }

    /// So many bytes belonged to no message.
    pub(crate) fn take_off(&self, bytes: usize) {
        let before = self.held.load(Relaxed);
        let held = before.saturating_sub(bytes);
        self.held.store(held, Relaxed);
        self.discharge(charged(before) - charged(held));
    }

    fn discharge(&self, bytes: usize) {
        if bytes > 0 {
            let before = self.sum.held.fetch_sub(bytes, Relaxed);
            assert!(before >= bytes, "what goes was counted");
        }
    }
}

/// What counts in the sum, of so many bytes of one connection.
fn charged(held: usize) -> usize {
    held.saturating_sub(FREE)
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(unread: &Unread) -> usize {
        unread.sum.held.load(Relaxed)
    }

    #[test]
    fn what_one_connection_holds_is_limited_from_one_message_to_the_next() {
        let unread = Unread::new(UnreadSum::new(usize::MAX));
        unread.add(1 << 20).unwrap();
        unread.clear();
        unread.limit(100);
        for _ in 0..3 {
            unread.add(60).unwrap();
            unread.add(40).unwrap();
            unread.clear();
        }
        unread.add(100).unwrap();
        unread.take_off(30);
        unread.add(30).unwrap();
        let error = unread.add(2 * FREE).unwrap_err();
        assert!(error.to_string().contains("more than 100 bytes"), "{error}");
        unread.clear();
        assert_eq!(sum(&unread), 0);
        unread.limit(usize::MAX);
        unread.add(1000).unwrap();
    }

    #[test]
    fn what_all_hold_together_is_limited_beyond_what_each_has_free() {
        let sums = UnreadSum::new(1000);
        let [one, two, three] = [(); 3].map(|()| Unread::new(sums.clone()));
        one.add(FREE).unwrap();
        assert_eq!(sum(&one), 0);
        one.add(600).unwrap();
        two.add(FREE + 400).unwrap();
        assert_eq!(sum(&one), 1000);
        three.add(FREE).unwrap();
        assert!(three.add(1).is_err());
        drop(three);
        assert_eq!(sum(&one), 1000);
        two.take_off(100);
        assert_eq!(sum(&one), 900);
        one.clear();
        assert_eq!(sum(&one), 300);
        drop((one, two));
        assert_eq!(sums.held.load(Relaxed), 0);
    }
}
