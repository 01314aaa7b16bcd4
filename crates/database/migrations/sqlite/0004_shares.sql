-- What providers share with recipients. Names are unique in whatever case: `folded` is the name in lower case.

CREATE TABLE shares (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    comment TEXT,
    made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE shared_tables (
    id BLOB PRIMARY KEY,
    share BLOB NOT NULL REFERENCES shares (id),
    schema_name TEXT NOT NULL,
    schema_folded TEXT NOT NULL,
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    storage BLOB NOT NULL REFERENCES storages (id),
    bucket TEXT NOT NULL REFERENCES buckets (name),
    root TEXT NOT NULL,
    auxiliary TEXT NOT NULL,            -- directories, one after the other, a line each
    access TEXT NOT NULL,               -- url, dir or both
    history TEXT NOT NULL,              -- shared or latest
    made_ms INTEGER NOT NULL,
    UNIQUE (share, schema_folded, folded)
) STRICT, WITHOUT ROWID;

-- An empty caller means every caller of the account, so that the key is whole.
CREATE TABLE share_recipients (
    share BLOB NOT NULL REFERENCES shares (id),
    account BLOB NOT NULL REFERENCES accounts (id),
    caller BLOB NOT NULL,
    max_lifetime_s INTEGER NOT NULL,
    until_ms INTEGER,
    made_ms INTEGER NOT NULL,
    PRIMARY KEY (share, account, caller)
) STRICT, WITHOUT ROWID;
CREATE INDEX share_recipients_by_account ON share_recipients (account);

-- Which grant was made of which table for which recipient.
CREATE TABLE share_grants (
    grant_id BLOB PRIMARY KEY REFERENCES grants (id),
    share BLOB NOT NULL REFERENCES shares (id),
    shared_table BLOB NOT NULL REFERENCES shared_tables (id),
    account BLOB NOT NULL,
    caller BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX share_grants_by_share ON share_grants (share, account, caller);
CREATE INDEX share_grants_by_table ON share_grants (shared_table);

-- Only the SHA-256 of a link's code is kept.
CREATE TABLE share_links (
    digest BLOB PRIMARY KEY,
    caller BLOB NOT NULL REFERENCES callers (id),
    kind TEXT NOT NULL,                 -- bearer or oauth
    token_lifetime_s INTEGER,
    until_ms INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    used_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX share_links_by_caller ON share_links (caller);
