//! The bytes of a snapshot: chunks with a kind and a length, of which the first is the header and the last the end. The kind
//! and the length have a CRC-32, and so has the rest of the chunk. Nothing is used before its checksum was compared.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use event_store::{LogCheckpoint, LogIdentity, Position, ReadError};
use mongodb::bson;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version of the shape of snapshots. One of another shape is not read. Whoever changes a view, an event's effects or
/// the bytes raises it.
const SNAPSHOT_SHAPE: u32 = 2;

/// The version of the program.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The first bytes of the file. They change with the frame of chunks.
const MAGIC: [u8; 8] = *b"MUSTERV2";

/// The length of a chunk from which on another one is begun, bytes.
pub(super) const CHUNK_BYTES: usize = 256 << 10;

/// The length of the head of a chunk: its kind and its length.
const HEAD_BYTES: usize = 5;

/// The number of chunks after which the writer waits for the disk. Without that, a slow disk would take its time at the end,
/// where no deadline stops it.
const CHUNKS_PER_SYNC: u32 = 16;

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
    #[error("it is no snapshot of views that this version knows")]
    Foreign,
    #[error("it is cut short")]
    CutShort,
    #[error("it is damaged at byte {0}")]
    Damaged(u64),
    #[error("version {program} wrote it in shape {shape}, and this is version {own} with shape {SNAPSHOT_SHAPE}", own = PROGRAM)]
    OtherVersion { program: String, shape: u32 },
    #[error("{0}")]
    OtherLog(ReadError),
    #[error("it cannot be compared with the log: {0}")]
    LogUnread(ReadError),
}

/// The places of the views in their log.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewsPlaces {
    /// The last event of a submission that was applied. Later events are applied again.
    pub(super) resume: LogCheckpoint,
    /// The newest event of any kind of which the views may have something.
    pub(super) newest: LogCheckpoint,
}

/// The moment at which a writer gives up, once it is known. Copies share it.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteDeadline(Arc<OnceLock<Instant>>);

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
    #[serde(default)]
    newest_position: Position,
    #[serde(default)]
    newest_event: Option<Uuid>,
}

impl SnapshotError {
    /// Returns whether the snapshot will never be of use.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Io(_) | Self::LogUnread(_) => false,
            Self::Foreign
            | Self::CutShort
            | Self::Damaged(_)
            | Self::OtherVersion { .. }
            | Self::OtherLog(_) => true,
        }
    }
}

impl From<ReadError> for SnapshotError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OtherLog { .. } | ReadError::BeyondEnd { .. } => Self::OtherLog(error),
            ReadError::Unavailable(_)
            | ReadError::StreamDeleted(_)
            | ReadError::Corrupt(_)
            | ReadError::DamagedEvent { .. }
            | ReadError::Refused(_)
            | ReadError::Undecodable { .. } => Self::LogUnread(error),
        }
    }
}

impl ViewsPlaces {
    /// Checks that both are places in this log.
    pub(super) async fn check(&self, log: &(impl event_store::Read + ?Sized)) -> Result<(), SnapshotError> {
        let identity = LogIdentity::read(log).await?;
        self.resume.check(log, identity).await?;
        Ok(self.newest.check(log, identity).await?)
    }
}

impl WriteDeadline {
    /// Sets the moment, unless it is set already.
    pub(super) fn set(&self, until: Instant) {
        self.0.get_or_init(|| until);
    }

    fn is_over(&self) -> bool {
        self.0.get().is_some_and(|until| Instant::now() > *until)
    }
}

/// Writes chunks.
pub(super) struct SnapshotWriter {
    file: BufWriter<File>,
    deadline: WriteDeadline,
    /// The number of chunks since the writer waited for the disk.
    unsynced: u32,
}

impl SnapshotWriter {
    /// Writes the header of the views at these places in the log.
    pub(super) fn begin(file: File, at: ViewsPlaces, deadline: WriteDeadline) -> io::Result<Self> {
        let mut writer = Self { file: BufWriter::with_capacity(CHUNK_BYTES, file), deadline, unsynced: 0 };
        writer.file.write_all(&MAGIC)?;
        let header = Header {
            shape: SNAPSHOT_SHAPE,
            program: PROGRAM.to_owned(),
            log: at.resume.log.map(|log| log.0),
            position: at.resume.position,
            event: at.resume.event,
            newest_position: at.newest.position,
            newest_event: at.newest.event,
        };
        writer.chunk(ChunkKind::Header, &encode(&header)?)?;
        Ok(writer)
    }

    pub(super) fn chunk(&mut self, kind: ChunkKind, payload: &[u8]) -> io::Result<()> {
        if self.unsynced == CHUNKS_PER_SYNC {
            self.file.flush()?;
            self.file.get_ref().sync_data()?;
            self.unsynced = 0;
        }
        if self.deadline.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.unsynced += 1;
        let length = u32::try_from(payload.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut head = [kind as u8; HEAD_BYTES];
        head[1..].copy_from_slice(&length.to_le_bytes());
        self.file.write_all(&head)?;
        self.file.write_all(&crc32fast::hash(&head).to_le_bytes())?;
        self.file.write_all(&crc32fast::hash(payload).to_le_bytes())?;
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
    /// Opens a snapshot of this version, and returns the places in the log that its header names.
    pub(super) fn open(path: &Path) -> Result<(Self, ViewsPlaces), SnapshotError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut reader = Self { file: BufReader::with_capacity(CHUNK_BYTES, file), at: 0, length };
        if reader.take_array()? != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let (kind, payload) = reader.next()?;
        let header: Header = reader.decode(&payload)?;
        if kind != ChunkKind::Header {
            return Err(reader.damaged());
        }
        if (header.shape, header.program.as_str()) != (SNAPSHOT_SHAPE, PROGRAM) {
            return Err(SnapshotError::OtherVersion { program: header.program, shape: header.shape });
        }
        if header.event.is_none() || header.newest_event.is_none() {
            return Err(reader.damaged());
        }
        let log = header.log.map(LogIdentity);
        let resume = LogCheckpoint { log, position: header.position, event: header.event };
        let newest = LogCheckpoint { log, position: header.newest_position, event: header.newest_event };
        Ok((reader, ViewsPlaces { resume, newest }))
    }

    /// Returns the next chunk. After the last one nothing may follow.
    pub(super) fn next(&mut self) -> Result<(ChunkKind, Vec<u8>), SnapshotError> {
        let head: [u8; HEAD_BYTES] = self.take_array()?;
        let [of_head, of_payload] = [self.take_array()?, self.take_array()?].map(u32::from_le_bytes);
        // A length that is damaged asks for no memory.
        if crc32fast::hash(&head) != of_head {
            return Err(self.damaged());
        }
        let [number, length @ ..] = head;
        let bytes = u32::from_le_bytes(length);
        if u64::from(bytes) > self.length.saturating_sub(self.at) {
            return Err(SnapshotError::CutShort);
        }
        let mut payload = vec![0; bytes as usize];
        self.take(&mut payload)?;
        if crc32fast::hash(&payload) != of_payload {
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

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
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
