"""Writes a million events into the file of an empty log, while no program has the log open."""

import sqlite3
import struct
import sys
import zlib

log = sqlite3.connect(sys.argv[1])
log.execute("PRAGMA synchronous = off")
(head,) = log.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
assert head == 0, "the log is empty"
log.execute("INSERT INTO streams (id, name, last_revision) VALUES (1, 'load-1', 999999)")

DATA = b'{"text":"' + b"00" * 150 + b'"}'
METADATA = b"{}"


def text(value):
    return struct.pack("<Q", len(value)) + value


def row(n):
    id, recorded_at = b"%016d" % n, 1700000000000000 + n
    covered = struct.pack("<QQqq", n + 1, n, recorded_at, 1)
    covered += text(b"load-1") + text(id) + text(b"Loaded") + text(DATA) + text(METADATA)
    return n + 1, 1, n, id, "Loaded", 1, DATA, METADATA, recorded_at, zlib.crc32(covered)


log.executemany(
    """
    INSERT INTO events (position, stream, revision, id, kind, json, data, metadata, recorded_at, checksum)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    """,
    map(row, range(1000000)),
)
log.commit()
log.close()
