-- Ids are the sixteen bytes of a version 7 UUID: they sort by the millisecond they were made in.
-- Instants are milliseconds (`_ms`) or seconds (`_s`) of Unix time.

CREATE TABLE accounts (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    standing INTEGER NOT NULL,          -- 0 active, 1 suspended
    vend_credits INTEGER NOT NULL,      -- credits for one credential; 0 means free
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credits (
    account BLOB PRIMARY KEY REFERENCES accounts (id),
    granted INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE credit_grants (
    account BLOB NOT NULL REFERENCES accounts (id),
    credits INTEGER NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE callers (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    UNIQUE (account, name)
) STRICT, WITHOUT ROWID;

-- Only the SHA-256 of a token is kept.
CREATE TABLE tokens (
    id BLOB PRIMARY KEY,
    caller BLOB NOT NULL REFERENCES callers (id),
    digest BLOB NOT NULL UNIQUE,
    tail TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    until_ms INTEGER,
    revoked_ms INTEGER,
    revoked_by BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_caller ON tokens (caller);

CREATE TABLE storages (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    internal_endpoint TEXT,
    region TEXT NOT NULL,
    min_lifetime_s INTEGER NOT NULL,
    max_lifetime_s INTEGER NOT NULL,
    longest_s INTEGER NOT NULL,         -- the largest max_lifetime_s there ever was: bounds what a revocation may end
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    storage BLOB NOT NULL REFERENCES storages (id),
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE datasets (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    description TEXT NOT NULL,
    storage BLOB NOT NULL REFERENCES storages (id),
    bucket TEXT NOT NULL REFERENCES buckets (name),
    path_kind TEXT NOT NULL,
    path BLOB NOT NULL,
    format TEXT NOT NULL,
    frequency TEXT NOT NULL,
    version TEXT NOT NULL,
    deprecated INTEGER NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A removed grant stays, so that its leases can still be found; its name is free again.
CREATE TABLE grants (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    caller BLOB REFERENCES callers (id),
    storage BLOB NOT NULL REFERENCES storages (id),
    dataset BLOB REFERENCES datasets (id),
    scope BLOB NOT NULL,                -- Scope::encode
    max_lifetime_s INTEGER NOT NULL,
    from_ms INTEGER,
    until_ms INTEGER,
    made_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    removed_by BLOB
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX grants_by_account ON grants (account, name) WHERE removed_ms IS NULL;

-- The ledger. One row for each group of entries committed together; hash = SHA-256(hash of the row before, body).
CREATE TABLE ledger_pages (
    seq INTEGER PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    opens INTEGER NOT NULL,
    voids INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX ledger_pages_by_time ON ledger_pages (last_ms, first_ms);

-- How far the pages were folded into `leases`.
CREATE TABLE ledger_folded (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_folded (one, seq) VALUES (1, 0);

-- Scopes too long to repeat in every entry, once each, by SHA-256.
CREATE TABLE scopes (
    digest BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- An index over the pages, made of them in the background. The pages are the record.
CREATE TABLE leases (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL,
    caller BLOB NOT NULL,
    token BLOB NOT NULL,
    storage BLOB NOT NULL,
    scope BLOB NOT NULL,                -- Scope::encode, or 0x00 and the digest of a row of `scopes`
    grants BLOB NOT NULL,               -- ids one after the other
    dialect TEXT NOT NULL,
    credits INTEGER NOT NULL,
    opened_ms INTEGER NOT NULL,
    until_s INTEGER NOT NULL,
    void_kind TEXT,
    revoked_ms INTEGER,
    revoked_by BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_account ON leases (account, id);
CREATE INDEX leases_by_caller ON leases (caller, id);
CREATE INDEX leases_metered ON leases (account, opened_ms, credits) WHERE credits > 0 AND void_kind IS NULL;

CREATE TABLE revocations (
    kind INTEGER NOT NULL,              -- 0 lease, 1 token, 2 caller, 3 account
    target BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    by_caller BLOB NOT NULL,
    keep_until_ms INTEGER NOT NULL,     -- until then a credential it ends may still be shown
    PRIMARY KEY (kind, target, at_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_by_time ON revocations (at_ms);
CREATE INDEX revocations_by_end ON revocations (keep_until_ms);

-- Refusals, counted by minute. Absent ids are empty blobs, so that the key is whole.
CREATE TABLE refusals (
    minute_s INTEGER NOT NULL,
    account BLOB NOT NULL,
    caller BLOB NOT NULL,
    dialect TEXT NOT NULL,
    kind TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (minute_s, account, caller, dialect, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    account BLOB NOT NULL,
    second_s INTEGER NOT NULL,
    token BLOB NOT NULL,
    origin INTEGER NOT NULL,            -- 0 a program, 1 the web application
    count INTEGER NOT NULL,
    PRIMARY KEY (account, second_s, token, origin)
) STRICT, WITHOUT ROWID;
