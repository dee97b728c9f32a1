//! Messages on a pipe: a length of four bytes, little-endian, then that many bytes of JSON.
//!
//! A child may die between any two bytes, so the reader can tell a whole message from a torn one.

use serde::Serialize;
use std::io::{self, Write};

/// A message longer than this is not one: 1 GiB.
const LEN_MAX: usize = 1 << 30;
const HEADER_LEN: usize = 4;

/// The sending end.
#[derive(Debug)]
pub struct Sender<W>(pub W);

impl<W: Write> Sender<W> {
    /// Sends `message`, whole.
    ///
    /// # Errors
    /// When the pipe is closed, or the message is too long.
    pub fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let mut frame = vec![0; HEADER_LEN];
        serde_json::to_writer(&mut frame, message)?;
        let len = frame.len() - HEADER_LEN;
        if len > LEN_MAX {
            return Err(io::Error::other(format!("a message of {len} bytes")));
        }
        let header = u32::try_from(len).map_err(io::Error::other)?.to_le_bytes();
        frame[..HEADER_LEN].copy_from_slice(&header);
        self.0.write_all(&frame)
    }
}

/// The receiving end: bytes in, messages out.
#[derive(Debug, Default)]
pub struct Receiver {
    bytes: Vec<u8>,
}

impl Receiver {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    ///
    /// # Panics
    /// When the stream is not one that [`Sender`] wrote.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let header = self.bytes.first_chunk::<HEADER_LEN>()?;
        let len = u32::from_le_bytes(*header) as usize;
        assert!(
            len <= LEN_MAX,
            "a message of {len} bytes: the stream is damaged"
        );
        let end = HEADER_LEN + len;
        let message = self.bytes.get(HEADER_LEN..end)?.to_vec();
        self.bytes.drain(..end);
        Some(message)
    }

    /// Whether part of a message is there: if the stream is at its end, that message is torn.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_however_the_bytes_come_in() {
        let mut sender = Sender(Vec::new());
        sender.send(&"one").expect("a vector takes all");
        sender.send(&vec![2; 300]).expect("a vector takes all");
        let whole = vec![
            br#""one""#.to_vec(),
            serde_json::to_vec(&vec![2; 300]).expect("it is JSON"),
        ];
        for step in 1..sender.0.len() {
            let mut receiver = Receiver::default();
            let mut got = Vec::new();
            for bytes in sender.0.chunks(step) {
                receiver.push(bytes);
                got.extend(std::iter::from_fn(|| receiver.next_message()));
            }
            assert_eq!(got, whole);
            assert!(!receiver.is_torn());
        }
    }

    #[test]
    fn a_message_cut_short_is_torn() {
        let mut sender = Sender(Vec::new());
        sender.send(&"message").expect("a vector takes all");
        for len in 1..sender.0.len() {
            let mut receiver = Receiver::default();
            receiver.push(&sender.0[..len]);
            assert_eq!(receiver.next_message(), None);
            assert!(receiver.is_torn());
        }
    }
}
