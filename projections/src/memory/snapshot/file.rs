//! The bytes of a snapshot: chunks with a kind, a length and a CRC-32, of which the first is the header and the last the end.
//! Nothing of a chunk is used before its checksum was compared.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Instant;

use event_store::{LogCheckpoint, LogIdentity, Position};
use mongodb::bson;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of the shape of snapshots. One of another shape is not read. Whoever changes a view, an event's effects or
/// the bytes raises it.
const SNAPSHOT_SHAPE: u32 = 1;

/// The version of the program.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The first bytes of the file.
const MAGIC: [u8; 8] = *b"MUSTERVS";

/// The length of a chunk from which on another one is begun, bytes.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// The length of a chunk's frame: kind, length, checksum.
const FRAME_BYTES: u64 = 9;

/// The kind of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkKind {
    Header = 1,
    /// All but owners and statuses.
    Rest = 2,
    Owners = 3,
    Statuses = 4,
    End = 5,
}

/// The reason why a snapshot is passed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it is no snapshot of views")]
    Foreign,
    #[error("it is cut short")]
    CutShort,
    #[error("it is damaged at byte {0}")]
    Damaged(u64),
    #[error("version {program} wrote it in shape {shape}, and this is version {own} with shape {SNAPSHOT_SHAPE}", own = PROGRAM)]
    OtherVersion { program: String, shape: u32 },
    #[error("{0}")]
    OtherLog(#[from] event_store::ReadError),
}

#[derive(Serialize, Deserialize)]
struct Header {
    shape: u32,
    program: String,
    #[serde(default)]
    log: Option<Uuid>,
    #[serde(default)]
    position: Position,
    #[serde(default)]
    event: Option<Uuid>,
}

/// Writes chunks.
pub(super) struct SnapshotWriter {
    file: BufWriter<File>,
    /// The moment at which the writer gives up.
    until: Option<Instant>,
}

impl SnapshotWriter {
    /// Writes the header of the views at this place in the log.
    pub(super) fn begin(file: File, at: LogCheckpoint, until: Option<Instant>) -> io::Result<Self> {
        let mut writer = Self { file: BufWriter::with_capacity(CHUNK_BYTES, file), until };
        writer.file.write_all(&MAGIC)?;
        let header = Header {
            shape: SNAPSHOT_SHAPE,
            program: PROGRAM.to_owned(),
            log: at.log.map(|log| log.0),
            position: at.position,
            event: at.event,
        };
        writer.chunk(ChunkKind::Header, &encode(&header)?)?;
        Ok(writer)
    }

    pub(super) fn chunk(&mut self, kind: ChunkKind, payload: &[u8]) -> io::Result<()> {
        if self.until.is_some_and(|until| Instant::now() > until) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?.to_le_bytes();
        self.file.write_all(&[kind as u8])?;
        self.file.write_all(&length)?;
        self.file.write_all(&checksum(kind as u8, length, payload).to_le_bytes())?;
        self.file.write_all(payload)
    }

    /// Ends the file, and waits until it is on disk. Returns its length.
    pub(super) fn end(mut self) -> io::Result<u64> {
        self.chunk(ChunkKind::End, &[])?;
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

/// Reads chunks.
pub(super) struct SnapshotReader {
    file: BufReader<File>,
    at: u64,
    length: u64,
}

impl SnapshotReader {
    /// Opens a snapshot of this version, and returns the place in the log that its header names.
    pub(super) fn open(path: &Path) -> Result<(Self, LogCheckpoint), SnapshotError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = Self { file: BufReader::with_capacity(CHUNK_BYTES, file), at: 0, length };
        let mut magic = [0; MAGIC.len()];
        reader.take(&mut magic)?;
        if magic != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let (kind, payload) = reader.next()?;
        let header: Header = reader.decode(&payload)?;
        if kind != ChunkKind::Header || header.position == Position::START {
            return Err(reader.damaged());
        }
        if (header.shape, header.program.as_str()) != (SNAPSHOT_SHAPE, PROGRAM) {
            return Err(SnapshotError::OtherVersion { program: header.program, shape: header.shape });
        }
        let log = header.log.map(LogIdentity);
        Ok((reader, LogCheckpoint { log, position: header.position, event: header.event }))
    }

    /// Returns the next chunk. After the last one nothing may follow.
    pub(super) fn next(&mut self) -> Result<(ChunkKind, Vec<u8>), SnapshotError> {
        let mut frame = [0; FRAME_BYTES as usize];
        self.take(&mut frame)?;
        let [number, a, b, c, d, crc @ ..] = frame;
        let length = [a, b, c, d];
        let bytes = u32::from_le_bytes(length);
        if u64::from(bytes) > self.length - self.at {
            return Err(SnapshotError::CutShort);
        }
        let mut payload = vec![0; bytes as usize];
        self.take(&mut payload)?;
        if checksum(number, length, &payload) != u32::from_le_bytes(crc) {
            return Err(self.damaged());
        }
        let kind = ChunkKind::numbered(number).ok_or_else(|| self.damaged())?;
        if kind == ChunkKind::End && self.at != self.length {
            return Err(self.damaged());
        }
        Ok((kind, payload))
    }

    pub(super) fn decode<T: serde::de::DeserializeOwned>(&self, payload: &[u8]) -> Result<T, SnapshotError> {
        bson::from_slice(payload).map_err(|_| self.damaged())
    }

    /// Returns the error that the bytes up to here are not those of a snapshot.
    pub(super) fn damaged(&self) -> SnapshotError {
        SnapshotError::Damaged(self.at)
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), SnapshotError> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::CutShort,
            _ => SnapshotError::Io(error),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

impl ChunkKind {
    fn numbered(number: u8) -> Option<Self> {
        let all = [Self::Header, Self::Rest, Self::Owners, Self::Statuses, Self::End];
        all.into_iter().find(|kind| *kind as u8 == number)
    }
}

pub(super) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    bson::to_vec(value).map_err(io::Error::other)
}

fn checksum(kind: u8, length: [u8; 4], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(&length);
    crc.update(payload);
    crc.finalize()
}
