//! A stream that arrives in pieces, for a reader that waits for them on a thread of its own.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// The number of received pieces that wait until they are read.
const PIECES_AHEAD: usize = 16;

/// A stream, as it arrives. It ends when its sender is dropped.
pub(crate) struct ArrivingBytes {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl ArrivingBytes {
    /// Returns the sender of the pieces, and their reader.
    pub(crate) fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        (sender, Self { pieces, piece: Bytes::new() })
    }
}

impl Read for ArrivingBytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let read = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}
