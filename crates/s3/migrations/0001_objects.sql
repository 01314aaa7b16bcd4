-- The index of the embedded S3 endpoint. A file on disk exists for readers only through a row here.

-- Counts how often the index was opened: the high half of every id made since, so that what a crash left behind is
-- told from what is being written now.
CREATE TABLE state (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO state (one, generation) VALUES (1, 0);

CREATE TABLE buckets (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Either `content` (small objects, in this database) or `segments` (files, in order) says where the bytes are.
CREATE TABLE objects (
    bucket      INTEGER NOT NULL,
    key         BLOB    NOT NULL,
    size        INTEGER NOT NULL,
    etag        TEXT    NOT NULL,
    modified_ms INTEGER NOT NULL,
    content     INTEGER,
    headers     BLOB    NOT NULL,
    segments    BLOB    NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;

-- Kept apart so that listing keys does not read objects.
CREATE TABLE contents (
    id    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- The files that a row above or below refers to.
CREATE TABLE files (
    id INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE uploads (
    id        BLOB    PRIMARY KEY,
    bucket    INTEGER NOT NULL,
    key       BLOB    NOT NULL,
    account   BLOB    NOT NULL,
    caller    BLOB    NOT NULL,
    opened_ms INTEGER NOT NULL,
    algorithm TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    headers   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_by_key ON uploads (bucket, key, id);

CREATE TABLE parts (
    upload      BLOB    NOT NULL,
    number      INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    file        INTEGER,
    md5         BLOB    NOT NULL,
    checksum    BLOB    NOT NULL,
    modified_ms INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
