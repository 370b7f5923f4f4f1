"""Writes a million events into the file of an empty log, while no program has the log open."""

import sqlite3
import sys

log = sqlite3.connect(sys.argv[1])
log.execute("PRAGMA synchronous = off")
(head,) = log.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
assert head == 0, "the log is empty"
log.execute("INSERT INTO streams (id, name, last_revision) VALUES (1, 'load-1', 999999)")
log.execute(
    """
    WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 999999)
    INSERT INTO events (position, stream, revision, id, kind, json, data, metadata, recorded_at)
    SELECT n + 1, 1, n, CAST(printf('%016d', n) AS BLOB), 'Loaded', 1,
           CAST('{"text":"' || hex(zeroblob(150)) || '"}' AS BLOB), CAST('{}' AS BLOB), 1700000000000000 + n
    FROM numbers
    """
)
log.commit()
log.close()
