-- Who may ask for what, and who approves it.
CREATE TABLE request_rules (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    account BLOB REFERENCES accounts (id),            -- whose callers may ask; null for those of every account
    caller BLOB REFERENCES callers (id),
    member_of BLOB REFERENCES caller_groups (id),
    bucket TEXT NOT NULL REFERENCES buckets (name),
    scope BLOB NOT NULL,                              -- Scope::encode
    most_secs INTEGER NOT NULL,
    approvers BLOB NOT NULL REFERENCES caller_groups (id),
    version INTEGER NOT NULL,
    made_ms INTEGER NOT NULL
) STRICT;

-- What was asked for, and what became of it. The rule may be gone.
CREATE TABLE access_requests (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    caller BLOB NOT NULL REFERENCES callers (id),
    rule BLOB NOT NULL,
    storage BLOB NOT NULL,
    scope BLOB NOT NULL,
    secs INTEGER NOT NULL,
    reason TEXT NOT NULL,
    made_ms INTEGER NOT NULL,
    decision TEXT,
    decided_ms INTEGER,
    decided_by BLOB,
    note TEXT,
    grant_id BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX access_requests_by_caller ON access_requests (caller, id);
CREATE INDEX access_requests_by_account ON access_requests (account, id);
CREATE INDEX access_requests_by_rule ON access_requests (rule, id);

-- The request that was approved with the grant.
ALTER TABLE grants ADD COLUMN request BLOB;
