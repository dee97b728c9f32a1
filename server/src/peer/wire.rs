//! Frames: the length in four bytes, the lowest first, and postcard.

use serde::{Serialize, de::DeserializeOwned};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame in bytes. A snapshot comes in parts, so only a group of entries could be
/// longer, and groups are made smaller than that.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;

/// Writes a frame.
pub(crate) async fn write<T: Serialize, W: AsyncWrite + Unpin>(
    stream: &mut W,
    message: &T,
) -> io::Result<()> {
    let frame = postcard::to_extend(message, vec![0; 4]);
    let mut frame = frame.expect("memory takes every value, and no value refuses to be written");
    let length = frame.len() - 4;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a message of {length} bytes is too long for a link"
        )));
    }
    let length = u32::try_from(length).expect("it is shorter");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Reads a frame.
pub(crate) async fn read<T: DeserializeOwned, R: AsyncRead + Unpin>(
    stream: &mut R,
) -> io::Result<T> {
    read_at_most(stream, FRAME_BYTES_MAX).await
}

/// Reads a frame that is no longer than this.
pub(super) async fn read_at_most<T: DeserializeOwned, R: AsyncRead + Unpin>(
    stream: &mut R,
    bytes_max: usize,
) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length);
    if usize::try_from(length).map_or(true, |length| length > bytes_max) {
        return Err(invalid(&format!("a frame of {length} bytes")));
    }
    // It grows as bytes come: a length alone takes no memory.
    let mut frame = Vec::new();
    let read = stream
        .take(u64::from(length))
        .read_to_end(&mut frame)
        .await?;
    if read < usize::try_from(length).unwrap_or(usize::MAX) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match postcard::take_from_bytes(&frame) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(invalid(&format!("{} bytes too many", rest.len()))),
        Err(error) => Err(invalid(&error.to_string())),
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("what another node sent cannot be read: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let (mut here, mut there) = tokio::io::duplex(16);
        let text = "x".repeat(100);
        let (wrote, got) = tokio::join!(write(&mut here, &text), read::<String, _>(&mut there));
        wrote.unwrap();
        assert_eq!(got.unwrap(), text);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        async fn reading(bytes: &[u8]) -> io::ErrorKind {
            let mut bytes = bytes;
            read::<u8, _>(&mut bytes).await.unwrap_err().kind()
        }
        assert_eq!(reading(&[255; 4]).await, io::ErrorKind::InvalidData);
        assert_eq!(
            reading(&[2, 0, 0, 0, 1, 1]).await,
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            reading(&[2, 0, 0, 0, 1]).await,
            io::ErrorKind::UnexpectedEof
        );
        assert_eq!(reading(&[0, 0, 0, 0]).await, io::ErrorKind::InvalidData);
    }
}
