-- Credentials of external storages, sealed: for a server that starts again, and where several share the database, for all of them.
CREATE TABLE pooled_credentials (
    key BLOB NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL DEFAULT 0,
    claimant BLOB,
    claimed_until_ms INTEGER NOT NULL DEFAULT 0,
    storage BLOB,
    key_id TEXT,
    sealed BLOB,
    ends_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX pooled_credentials_by_key_id ON pooled_credentials (storage, key_id);
CREATE INDEX pooled_credentials_by_end ON pooled_credentials (ends_ms);
