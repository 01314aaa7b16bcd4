-- Callers of an account that are granted something together.
CREATE TABLE caller_groups (
    id BLOB PRIMARY KEY,
    account BLOB NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    provider BLOB,                      -- whose sessions are in it, if they hold the claims
    claims TEXT NOT NULL,               -- lines
    version INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    removed_ms INTEGER,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE group_members (
    member_of BLOB NOT NULL REFERENCES caller_groups (id),
    caller BLOB NOT NULL REFERENCES callers (id),
    PRIMARY KEY (member_of, caller)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_members_by_caller ON group_members (caller);

-- For the members of a group; then `caller` is null.
ALTER TABLE grants ADD COLUMN member_of BLOB REFERENCES caller_groups (id);
-- Lines: all have to hold for the grant to open anything. Nothing where there are none.
ALTER TABLE grants ADD COLUMN conditions TEXT;
CREATE INDEX grants_by_group ON grants (member_of) WHERE member_of IS NOT NULL;

-- What the identity token claims: nothing of it is known for sessions from before.
ALTER TABLE identity_sessions ADD COLUMN claims TEXT;
