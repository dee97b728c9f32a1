//! Bytes as what comes over the wire.

use lockwright_protocol::{ClaimText, ClientFrame, Request, ServerFrame};

/// Reads the bytes as a frame of a client and as one of a server. Each is refused, or comes out
/// again as it went in.
///
/// # Panics
/// When it does not.
pub fn frames(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match ClientFrame::decode(text) {
        Ok(frame) => {
            assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame.clone()));
            if let Request::Acquire { claims, .. } = &frame.request {
                claims.iter().for_each(claim);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
    match ServerFrame::decode(text) {
        Ok(frame) => assert_eq!(ServerFrame::decode(&frame.encode()), Ok(frame)),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
}

fn claim(text: &ClaimText) {
    match text.parse() {
        Ok(claim) => assert_eq!(ClaimText::from(&claim), *text),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal says why"),
    }
}
