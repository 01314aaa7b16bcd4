-- Who else's word is taken for who a caller is, and its rules. Lists are lines.
CREATE TABLE identity_providers (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    preset TEXT NOT NULL,
    issuer TEXT NOT NULL UNIQUE,
    keys_kind INTEGER NOT NULL,         -- 0 by discovery, 1 from an address, 2 these
    keys TEXT NOT NULL,
    audiences TEXT NOT NULL,
    parties TEXT NOT NULL,
    subject TEXT NOT NULL,
    algorithms TEXT NOT NULL,
    leeway_s INTEGER NOT NULL,
    max_age_s INTEGER NOT NULL,
    version INTEGER NOT NULL,           -- of it and its rules
    made_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE trust_rules (
    id BLOB PRIMARY KEY,
    provider BLOB NOT NULL REFERENCES identity_providers (id),
    place INTEGER NOT NULL,             -- they are tried in this order
    name TEXT NOT NULL,
    account BLOB NOT NULL REFERENCES accounts (id),
    caller TEXT NOT NULL,
    role TEXT NOT NULL,
    claims TEXT NOT NULL,
    outlive_s INTEGER,
    UNIQUE (provider, name)
) STRICT;
CREATE INDEX trust_rules_by_account ON trust_rules (account);

-- Tokens that came of an identity token, of which only a digest is kept.
CREATE TABLE identity_sessions (
    token BLOB PRIMARY KEY REFERENCES tokens (id),
    provider BLOB NOT NULL,
    provider_name TEXT NOT NULL,
    rule BLOB NOT NULL,
    rule_name TEXT NOT NULL,
    subject TEXT NOT NULL,
    jti TEXT,
    jwt BLOB NOT NULL,
    lapsed INTEGER NOT NULL DEFAULT 0   -- 1 if it ended with its rule: the identity token may be judged again
) STRICT, WITHOUT ROWID;
CREATE INDEX identity_sessions_by_jwt ON identity_sessions (jwt);
CREATE INDEX identity_sessions_by_rule ON identity_sessions (rule);
CREATE INDEX identity_sessions_by_subject ON identity_sessions (provider, subject);

-- Identity tokens that were issued before are not taken. Kinds: 0 of the provider, 1 of a rule, 2 of a subject, 3 a token's own id.
CREATE TABLE identity_cutoffs (
    provider BLOB NOT NULL,
    kind INTEGER NOT NULL,
    value TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (provider, kind, value)
) STRICT, WITHOUT ROWID;

-- The rule's template that a caller was made for: no other rule's tokens become it.
ALTER TABLE callers ADD COLUMN made_for TEXT;
