-- The embedded log. Rows of `events` are written once. Later only a checksum is added, if the row has none.

CREATE TABLE streams (
    id              INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    -- NULL until the first event; the largest integer once the stream is gone for good.
    last_revision   INTEGER,
    -- What readers of the stream no longer see. The log itself keeps every event.
    truncate_before INTEGER NOT NULL DEFAULT 0,
    max_count       INTEGER,
    max_age_s       INTEGER
) STRICT;

CREATE TABLE events (
    position    INTEGER PRIMARY KEY,
    stream      INTEGER NOT NULL REFERENCES streams (id),
    revision    INTEGER NOT NULL,
    -- The 16 bytes of a UUID.
    id          BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    -- 1 when the writer called the data JSON.
    json        INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    metadata    BLOB    NOT NULL,
    -- Microseconds since 1970, never less than in the row before, but for the rows in `clock_steps`.
    recorded_at INTEGER NOT NULL,
    -- CRC-32 of the rest of the row, with the stream's name in place of its number; NULL only in `unsummed`.
    checksum    INTEGER
) STRICT;

CREATE UNIQUE INDEX events_by_revision ON events (stream, revision);

-- How a repeated append is recognised. Not unique: a writer that says which
-- revision it expects may record an id again, as in EventStoreDB.
CREATE INDEX events_by_id ON events (stream, id);

-- At most one row: the positions of events from before checksums, which still want one. They get it from the first to the last.
CREATE TABLE unsummed (
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL
) STRICT;
