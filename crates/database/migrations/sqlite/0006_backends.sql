-- Stores that somebody else runs: what is configured of them, and how they know the credentials that were handed out.

ALTER TABLE storages ADD COLUMN settings TEXT;                               -- JSON without secrets; null for the embedded store
ALTER TABLE storages ADD COLUMN secrets BLOB;                                -- sealed by the server's key
ALTER TABLE storages ADD COLUMN sharing TEXT NOT NULL DEFAULT 'caller';
ALTER TABLE storages ADD COLUMN calls_per_sec INTEGER NOT NULL DEFAULT 300;
ALTER TABLE storages ADD COLUMN burst INTEGER NOT NULL DEFAULT 300;
ALTER TABLE storages ADD COLUMN revocation TEXT NOT NULL DEFAULT 'immediate';
ALTER TABLE storages ADD COLUMN version INTEGER NOT NULL DEFAULT 1;          -- counts the changes

ALTER TABLE ledger_pages ADD COLUMN issues INTEGER NOT NULL DEFAULT 0;

-- A part of the index over the pages: one row for each credential of such a store that was handed out.
CREATE TABLE issued (
    lease BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,               -- the credential's name in the store's own log
    request_id TEXT,                    -- of the request that fetched it
    ends_s INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX issued_by_key ON issued (key_id, lease);
