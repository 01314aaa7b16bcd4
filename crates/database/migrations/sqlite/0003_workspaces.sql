-- A named place of an account. It opens nothing: grants do.
CREATE TABLE workspaces (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    storage BLOB NOT NULL REFERENCES storages (id),
    bucket TEXT NOT NULL REFERENCES buckets (name),
    root TEXT NOT NULL,                 -- without a slash at its end
    is_default INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (account, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX workspaces_by_bucket ON workspaces (bucket);
CREATE UNIQUE INDEX workspaces_default ON workspaces (account) WHERE is_default = 1;

CREATE TABLE projects (
    id BLOB PRIMARY KEY,
    workspace BLOB NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    made_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (workspace, key)
) STRICT, WITHOUT ROWID;

-- An OCI registry for each account. Content is addressed by its SHA-256; a blob that two accounts have is there twice.
CREATE TABLE package_blobs (
    account BLOB NOT NULL REFERENCES accounts (id),
    digest BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    made_by BLOB NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (account, digest)
) STRICT;

CREATE TABLE package_manifests (
    account BLOB NOT NULL REFERENCES accounts (id),
    package TEXT NOT NULL,
    digest BLOB NOT NULL,
    media_type TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (account, package, digest)
) STRICT;

CREATE TABLE package_tags (
    account BLOB NOT NULL REFERENCES accounts (id),
    package TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest BLOB NOT NULL,
    updated_ms INTEGER NOT NULL,
    PRIMARY KEY (account, package, tag)
) STRICT, WITHOUT ROWID;

-- Uploads that were begun. Only the SHA-256 of an upload's key is kept.
CREATE TABLE package_uploads (
    key BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    caller BLOB NOT NULL REFERENCES callers (id),
    package TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX package_uploads_by_caller ON package_uploads (caller, made_ms);
CREATE INDEX package_uploads_by_end ON package_uploads (until_ms);
