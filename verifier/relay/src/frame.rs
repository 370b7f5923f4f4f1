//! The frame around a message, on a stream that may be cut, delayed, mixed with
//! foreign bytes, or forged.
//!
//! ```text
//! magic "MRL1" | payload length u32 | id u64 | crc32 of id and payload u32 | payload
//! ```
//!
//! Numbers are big-endian. A reader abandons the stream at the first bad frame,
//! because its peer can no longer be trusted.

use std::fmt;

/// The largest payload in bytes: the largest body ([`crate::request::MAX_BODY`])
/// and the fields beside it.
pub const MAX_PAYLOAD: usize = crate::request::MAX_BODY + 16 * 1024;

const MAGIC: [u8; 4] = *b"MRL1";
const HEADER: usize = 20;

/// A message with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayFrame {
    /// Chosen by the verifier for a call, and repeated in the reply.
    pub id: u64,
    /// An encoded message, at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

impl RelayFrame {
    /// Returns the frame's bytes.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] if the payload exceeds [`MAX_PAYLOAD`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        check_length(length)?;
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.checksum().to_be_bytes());
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }

    fn checksum(&self) -> u32 {
        let crc = crc32(u32::MAX, &self.id.to_be_bytes());
        !crc32(crc, &self.payload)
    }
}

/// The reason why a stream of frames can no longer be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The bytes do not begin with the magic number.
    Magic,
    /// A frame announces more than [`MAX_PAYLOAD`] bytes.
    TooLong(u32),
    /// The checksum does not match the id and the payload.
    Checksum,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("the bytes do not begin a frame"),
            Self::TooLong(length) => write!(f, "a frame announces {length} bytes, more than {MAX_PAYLOAD}"),
            Self::Checksum => f.write_str("the checksum of a frame is wrong"),
        }
    }
}

impl std::error::Error for FrameError {}

/// A decoder of frames from bytes that arrive in pieces of any size.
///
/// It holds at most one frame, so its memory is bounded for any input.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    broken: Option<FrameError>,
}

impl FrameDecoder {
    /// Removes from the front of `bytes` the rest of the current frame, and returns
    /// the frame if it is complete. Call this until it returns `None`: then `bytes`
    /// is empty.
    ///
    /// # Errors
    /// Every later call returns the first [`FrameError`] again.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<Option<RelayFrame>, FrameError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        self.advance(bytes).inspect_err(|error| self.broken = Some(*error))
    }

    fn advance(&mut self, bytes: &mut &[u8]) -> Result<Option<RelayFrame>, FrameError> {
        self.fill(HEADER, bytes);
        // Checked from the first byte on, so that a foreign stream is refused before
        // it has filled a header.
        if !MAGIC.iter().zip(&self.buffer).all(|(a, b)| a == b) {
            return Err(FrameError::Magic);
        }
        let Some((length, id, checksum)) = header(&self.buffer) else {
            return Ok(None);
        };
        let whole = HEADER + check_length(length)?;
        self.fill(whole, bytes);
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let payload = self.buffer.split_off(HEADER);
        self.buffer.clear();
        let frame = RelayFrame { id, payload };
        if frame.checksum() == checksum { Ok(Some(frame)) } else { Err(FrameError::Checksum) }
    }

    /// Moves bytes to the buffer until it holds `size` bytes or `bytes` is empty.
    fn fill(&mut self, size: usize, bytes: &mut &[u8]) {
        let lacking = size.saturating_sub(self.buffer.len());
        let (now, later) = bytes.split_at(lacking.min(bytes.len()));
        self.buffer.extend_from_slice(now);
        *bytes = later;
    }
}

fn check_length(length: u32) -> Result<usize, FrameError> {
    usize::try_from(length).ok().filter(|length| *length <= MAX_PAYLOAD).ok_or(FrameError::TooLong(length))
}

/// Returns length, id and checksum, or `None` if the header is incomplete.
fn header(buffer: &[u8]) -> Option<(u32, u64, u32)> {
    let rest = buffer.get(MAGIC.len()..)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (checksum, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*length), u64::from_be_bytes(*id), u32::from_be_bytes(*checksum)))
}

/// Continues a CRC-32 (IEEE 802.3) with more bytes. The caller starts from all ones
/// and inverts the result.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    bytes.iter().fold(start, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_crc_32_of_ieee_802_3() {
        assert_eq!(!crc32(u32::MAX, b"123456789"), 0xCBF4_3926);
    }
}
