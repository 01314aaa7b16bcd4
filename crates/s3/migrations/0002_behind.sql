-- Buckets of several stores: a name means something within its store only. No store (x'') is this one.
CREATE TABLE buckets_of_stores (
    id      INTEGER PRIMARY KEY,
    storage BLOB NOT NULL,
    name    TEXT NOT NULL,
    UNIQUE (storage, name)
) STRICT;
INSERT INTO buckets_of_stores (id, storage, name) SELECT id, x'', name FROM buckets;
DROP TABLE buckets;
ALTER TABLE buckets_of_stores RENAME TO buckets;

-- What another store does not keep of an object that was written to it from here. True of one version only: that with
-- this tag and size.
CREATE TABLE facts (
    bucket  INTEGER NOT NULL,
    key     BLOB    NOT NULL,
    tag     TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    etag    TEXT    NOT NULL,
    headers BLOB    NOT NULL,
    parts   BLOB    NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
