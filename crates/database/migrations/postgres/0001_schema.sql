-- The schema of the files in `../sqlite`, in one. Ids are the sixteen bytes of a version 7 UUID: they sort by the millisecond they were
-- made in. Instants are milliseconds (`_ms`) or seconds (`_s`) of Unix time.

CREATE TABLE accounts (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    standing BIGINT NOT NULL,          -- 0 active, 1 suspended
    vend_credits BIGINT NOT NULL,      -- credits for one credential; 0 means free
    made_ms BIGINT NOT NULL,
    datasets_bucket TEXT COLLATE "C",
    removed_ms BIGINT,
    max_bytes BIGINT,
    max_objects BIGINT
);

CREATE TABLE credits (
    account BYTEA PRIMARY KEY REFERENCES accounts (id),
    granted BIGINT NOT NULL,
    used BIGINT NOT NULL
);

CREATE TABLE credit_grants (
    account BYTEA NOT NULL REFERENCES accounts (id),
    credits BIGINT NOT NULL,
    made_ms BIGINT NOT NULL
);

CREATE TABLE callers (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    standing BIGINT NOT NULL DEFAULT 0,        -- 0 active, 1 suspended, 2 removed
    made_for TEXT COLLATE "C",                 -- the rule's template that it was made for: no other rule's tokens become it
    UNIQUE (account, name)
);

CREATE TABLE tokens (
    id BYTEA PRIMARY KEY,
    caller BYTEA NOT NULL REFERENCES callers (id),
    digest BYTEA NOT NULL UNIQUE,
    tail TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    until_ms BIGINT,
    revoked_ms BIGINT,
    revoked_by BYTEA,
    form BIGINT NOT NULL DEFAULT 2,
    account BYTEA,
    made_by BYTEA,
    outlives BIGINT NOT NULL DEFAULT 0              -- 1: an operator let it outlive the token that made it
);

CREATE TABLE storages (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    kind TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    internal_endpoint TEXT COLLATE "C",
    region TEXT COLLATE "C" NOT NULL,
    min_lifetime_s BIGINT NOT NULL,
    max_lifetime_s BIGINT NOT NULL,
    longest_s BIGINT NOT NULL,         -- the largest max_lifetime_s there ever was: bounds what a revocation may end
    made_ms BIGINT NOT NULL,
    settings TEXT COLLATE "C",
    secrets BYTEA,
    sharing TEXT COLLATE "C" NOT NULL DEFAULT 'caller',
    calls_per_sec BIGINT NOT NULL DEFAULT 300,
    burst BIGINT NOT NULL DEFAULT 300,
    revocation TEXT COLLATE "C" NOT NULL DEFAULT 'immediate',
    version BIGINT NOT NULL DEFAULT 1,
    removed_ms BIGINT
);

CREATE TABLE buckets (
    name TEXT COLLATE "C" PRIMARY KEY,
    storage BYTEA NOT NULL REFERENCES storages (id),
    made_ms BIGINT NOT NULL
);

CREATE TABLE datasets (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    topic TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    storage BYTEA NOT NULL REFERENCES storages (id),
    bucket TEXT COLLATE "C" NOT NULL REFERENCES buckets (name),
    path_kind TEXT COLLATE "C" NOT NULL,
    path BYTEA NOT NULL,
    format TEXT COLLATE "C" NOT NULL,
    frequency TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    deprecated BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    newest TEXT COLLATE "C" NOT NULL DEFAULT 'time',
    dictionary BYTEA,
    sample BYTEA
);

-- Callers of an account that are granted something together.
CREATE TABLE caller_groups (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    name TEXT COLLATE "C" NOT NULL,
    provider BYTEA,                      -- whose sessions are in it, if they hold the claims
    claims TEXT COLLATE "C" NOT NULL,    -- lines
    version BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    removed_ms BIGINT,
    UNIQUE (account, name)
);

CREATE TABLE group_members (
    member_of BYTEA NOT NULL REFERENCES caller_groups (id),
    caller BYTEA NOT NULL REFERENCES callers (id),
    PRIMARY KEY (member_of, caller)
);
CREATE INDEX group_members_by_caller ON group_members (caller);

CREATE TABLE grants (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    name TEXT COLLATE "C" NOT NULL,
    caller BYTEA REFERENCES callers (id),
    storage BYTEA NOT NULL REFERENCES storages (id),
    dataset BYTEA REFERENCES datasets (id),
    scope BYTEA NOT NULL,                -- Scope::encode
    max_lifetime_s BIGINT NOT NULL,
    from_ms BIGINT,
    until_ms BIGINT,
    made_ms BIGINT NOT NULL,
    removed_ms BIGINT,
    removed_by BYTEA,
    share BYTEA,
    workspace BYTEA,
    member_of BYTEA REFERENCES caller_groups (id), -- for the members of a group; then `caller` is null
    conditions TEXT COLLATE "C",                    -- lines: all have to hold for it to open anything
    request BYTEA,                                  -- that was approved with it
    template BYTEA                                  -- paths with placeholders, filled in for each caller; then `scope` is empty
);
CREATE INDEX grants_by_group ON grants (member_of) WHERE member_of IS NOT NULL;

-- Who may ask for what, and who approves it.
CREATE TABLE request_rules (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    account BYTEA REFERENCES accounts (id),           -- whose callers may ask; null for those of every account
    caller BYTEA REFERENCES callers (id),
    member_of BYTEA REFERENCES caller_groups (id),
    bucket TEXT COLLATE "C" NOT NULL REFERENCES buckets (name),
    scope BYTEA NOT NULL,                             -- Scope::encode
    most_secs BIGINT NOT NULL,
    approvers BYTEA NOT NULL REFERENCES caller_groups (id),
    version BIGINT NOT NULL,
    made_ms BIGINT NOT NULL
);

-- What was asked for, and what became of it. The rule may be gone.
CREATE TABLE access_requests (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    caller BYTEA NOT NULL REFERENCES callers (id),
    rule BYTEA NOT NULL,
    storage BYTEA NOT NULL,
    scope BYTEA NOT NULL,
    secs BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    decision TEXT COLLATE "C",
    decided_ms BIGINT,
    decided_by BYTEA,
    note TEXT COLLATE "C",
    grant_id BYTEA,
    token BYTEA
);
CREATE INDEX access_requests_by_caller ON access_requests (caller, id);
CREATE INDEX access_requests_by_account ON access_requests (account, id);
CREATE INDEX access_requests_by_rule ON access_requests (rule, id);

CREATE TABLE ledger_pages (
    seq BIGINT PRIMARY KEY,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    opens BIGINT NOT NULL,
    voids BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    body BYTEA NOT NULL,
    issues BIGINT NOT NULL DEFAULT 0,
    notes BIGINT NOT NULL DEFAULT 0
);

-- How far the pages of each chain were folded into `leases`; `one` is the chain's number from 1.
CREATE TABLE ledger_folded (
    one BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);

CREATE TABLE scopes (
    digest BYTEA PRIMARY KEY,
    body BYTEA NOT NULL
);

CREATE TABLE leases (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL,
    caller BYTEA NOT NULL,
    token BYTEA NOT NULL,
    storage BYTEA NOT NULL,
    scope BYTEA NOT NULL,                -- Scope::encode, or 0x00 and the digest of a row of `scopes`
    grants BYTEA NOT NULL,               -- ids one after the other
    dialect TEXT COLLATE "C" NOT NULL,
    credits BIGINT NOT NULL,
    opened_ms BIGINT NOT NULL,
    until_s BIGINT NOT NULL,
    void_kind TEXT COLLATE "C",
    revoked_ms BIGINT,
    revoked_by BYTEA,
    from_addr BYTEA,
    asked_with BYTEA,
    narrowed_from BYTEA
);

CREATE TABLE revocations (
    kind BIGINT NOT NULL,              -- 0 lease, 1 token, 2 caller, 3 account
    target BYTEA NOT NULL,
    at_ms BIGINT NOT NULL,
    by_caller BYTEA NOT NULL,
    keep_until_ms BIGINT NOT NULL,     -- until then a credential it ends may still be shown
    parent BYTEA,                      -- the parent access key whose holder made that credential
    PRIMARY KEY (kind, target, at_ms)
);

CREATE TABLE requests (
    account BYTEA NOT NULL,
    second_s BIGINT NOT NULL,
    token BYTEA NOT NULL,
    origin BIGINT NOT NULL,            -- 0 a program, 1 the web application
    count BIGINT NOT NULL,
    PRIMARY KEY (account, second_s, token, origin)
);

-- What went over the S3 endpoint, by day in UTC.
CREATE TABLE traffic (
    account BYTEA NOT NULL,
    day_s BIGINT NOT NULL,
    caller BYTEA NOT NULL,
    requests BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    PRIMARY KEY (account, day_s, caller)
);

-- How the credential of each lease was used there.
CREATE TABLE lease_uses (
    lease BYTEA PRIMARY KEY,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    from_addr BYTEA,
    requests BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL
);

CREATE TABLE parents (
    token BYTEA PRIMARY KEY REFERENCES tokens (id),
    sealed BYTEA NOT NULL
);

-- Who else's word is taken for who a caller is, and its rules. Lists are lines.
CREATE TABLE identity_providers (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    preset TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL UNIQUE,
    keys_kind BIGINT NOT NULL,         -- 0 by discovery, 1 from an address, 2 these
    keys TEXT COLLATE "C" NOT NULL,
    audiences TEXT COLLATE "C" NOT NULL,
    parties TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    algorithms TEXT COLLATE "C" NOT NULL,
    leeway_s BIGINT NOT NULL,
    max_age_s BIGINT NOT NULL,
    login_client TEXT COLLATE "C",     -- as what people log in
    login_scopes TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,           -- of it and its rules
    made_ms BIGINT NOT NULL
);

CREATE TABLE trust_rules (
    id BYTEA PRIMARY KEY,
    provider BYTEA NOT NULL REFERENCES identity_providers (id),
    place BIGINT NOT NULL,             -- they are tried in this order
    name TEXT COLLATE "C" NOT NULL,
    account BYTEA NOT NULL REFERENCES accounts (id),
    caller TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL,
    claims TEXT COLLATE "C" NOT NULL,
    outlive_s BIGINT,
    UNIQUE (provider, name)
);
CREATE INDEX trust_rules_by_account ON trust_rules (account);

-- Tokens that came of an identity token, of which only a digest is kept.
CREATE TABLE identity_sessions (
    token BYTEA PRIMARY KEY REFERENCES tokens (id),
    provider BYTEA NOT NULL,
    provider_name TEXT COLLATE "C" NOT NULL,
    rule BYTEA NOT NULL,
    rule_name TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    jti TEXT COLLATE "C",
    jwt BYTEA NOT NULL,
    lapsed BIGINT NOT NULL DEFAULT 0,  -- 1 if it ended with its rule: the identity token may be judged again
    claims TEXT COLLATE "C", -- until the session is over
    jwt_until_ms BIGINT               -- when the identity token itself is over
);
CREATE INDEX identity_sessions_with_claims ON identity_sessions (token) WHERE claims IS NOT NULL;
CREATE INDEX identity_sessions_by_jwt ON identity_sessions (jwt);
CREATE INDEX identity_sessions_by_rule ON identity_sessions (rule);
CREATE INDEX identity_sessions_by_subject ON identity_sessions (provider, subject);

-- Identity tokens that were issued before are not taken. Kinds: 0 of the provider, 1 of a rule, 2 of a subject, 3 a token's own id.
CREATE TABLE identity_cutoffs (
    provider BYTEA NOT NULL,
    kind BIGINT NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (provider, kind, value)
);

CREATE TABLE workspaces (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    key TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    storage BYTEA NOT NULL REFERENCES storages (id),
    bucket TEXT COLLATE "C" NOT NULL REFERENCES buckets (name),
    root TEXT COLLATE "C" NOT NULL,                 -- without a slash at its end
    is_default BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (account, key)
);

CREATE TABLE projects (
    id BYTEA PRIMARY KEY,
    workspace BYTEA NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    key TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    made_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    UNIQUE (workspace, key)
);

CREATE TABLE package_blobs (
    account BYTEA NOT NULL REFERENCES accounts (id),
    digest BYTEA NOT NULL,
    made_ms BIGINT NOT NULL,
    made_by BYTEA NOT NULL,
    body BYTEA NOT NULL,
    file BYTEA,
    size BIGINT,
    UNIQUE (account, digest)
);

CREATE TABLE package_manifests (
    account BYTEA NOT NULL REFERENCES accounts (id),
    package TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    body BYTEA NOT NULL,
    UNIQUE (account, package, digest)
);

CREATE TABLE package_tags (
    account BYTEA NOT NULL REFERENCES accounts (id),
    package TEXT COLLATE "C" NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (account, package, tag)
);

CREATE TABLE package_uploads (
    key BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    caller BYTEA NOT NULL REFERENCES callers (id),
    package TEXT COLLATE "C" NOT NULL,
    made_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);

CREATE TABLE shares (
    id BYTEA PRIMARY KEY,
    account BYTEA NOT NULL REFERENCES accounts (id),
    name TEXT COLLATE "C" NOT NULL,
    folded TEXT COLLATE "C" NOT NULL UNIQUE,
    comment TEXT COLLATE "C",
    made_ms BIGINT NOT NULL
);

CREATE TABLE shared_tables (
    id BYTEA PRIMARY KEY,
    share BYTEA NOT NULL REFERENCES shares (id),
    schema_name TEXT COLLATE "C" NOT NULL,
    schema_folded TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    folded TEXT COLLATE "C" NOT NULL,
    storage BYTEA NOT NULL REFERENCES storages (id),
    bucket TEXT COLLATE "C" NOT NULL REFERENCES buckets (name),
    root TEXT COLLATE "C" NOT NULL,
    auxiliary TEXT COLLATE "C" NOT NULL,            -- directories, one after the other, a line each
    access TEXT COLLATE "C" NOT NULL,               -- url, dir or both
    history TEXT COLLATE "C" NOT NULL,              -- shared or latest
    format TEXT COLLATE "C",                        -- delta or iceberg; null: not known, or both
    made_ms BIGINT NOT NULL,
    UNIQUE (share, schema_folded, folded)
);

CREATE TABLE share_recipients (
    share BYTEA NOT NULL REFERENCES shares (id),
    account BYTEA NOT NULL REFERENCES accounts (id),
    caller BYTEA NOT NULL,
    max_lifetime_s BIGINT NOT NULL,
    until_ms BIGINT,
    made_ms BIGINT NOT NULL,
    PRIMARY KEY (share, account, caller)
);

CREATE TABLE share_grants (
    grant_id BYTEA PRIMARY KEY REFERENCES grants (id),
    share BYTEA NOT NULL REFERENCES shares (id),
    shared_table BYTEA NOT NULL REFERENCES shared_tables (id),
    account BYTEA NOT NULL,
    caller BYTEA NOT NULL
);

CREATE TABLE share_links (
    digest BYTEA PRIMARY KEY,
    caller BYTEA NOT NULL REFERENCES callers (id),
    kind TEXT COLLATE "C" NOT NULL,                 -- bearer or oauth
    token_lifetime_s BIGINT,
    until_ms BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    used_ms BIGINT,
    made_by BYTEA,
    no_later_ms BIGINT,
    outlives BIGINT NOT NULL DEFAULT 0              -- 1: what comes of it may outlive the token that made it
);

CREATE TABLE issued (
    lease BYTEA PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL,               -- the credential's name in the store's own log
    request_id TEXT COLLATE "C",                    -- of the request that fetched it
    ends_s BIGINT NOT NULL
);

CREATE TABLE holdings (
    holder BYTEA NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (holder, what)
);

CREATE TABLE holding_limits (
    what TEXT COLLATE "C" PRIMARY KEY,
    most BIGINT NOT NULL
);

CREATE TABLE ledger_swept (
    one BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    last_ms BIGINT NOT NULL,
    pages BIGINT NOT NULL,
    leases BIGINT NOT NULL,
    sealed BYTEA NOT NULL
);

CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" PRIMARY KEY,
    algorithm TEXT COLLATE "C" NOT NULL,
    public TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    made_ms BIGINT NOT NULL,
    signs_from_ms BIGINT NOT NULL
);

CREATE TABLE ring_keys (
    number BIGINT PRIMARY KEY,
    check_value BYTEA NOT NULL,
    place BIGINT NOT NULL,             -- 0 is the current one
    seen_ms BIGINT NOT NULL
);

CREATE TABLE ledger_covered (
    one BIGINT PRIMARY KEY CHECK (one = 1)
);

CREATE TABLE refusals (
    minute_s BIGINT NOT NULL,
    account BYTEA NOT NULL,
    caller BYTEA NOT NULL,
    dialect TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    from_addr BYTEA NOT NULL,            -- empty where it is not known, or too many were told apart already
    count BIGINT NOT NULL,
    PRIMARY KEY (minute_s, account, caller, dialect, kind, from_addr)
);

CREATE TABLE audit_destinations (
    name TEXT COLLATE "C" PRIMARY KEY,
    sender BYTEA NOT NULL,               -- the process whose turn it is to send there
    until_ms BIGINT NOT NULL,
    next TEXT COLLATE "C"                -- where it goes on
);

CREATE INDEX tokens_by_caller ON tokens (caller);
CREATE UNIQUE INDEX grants_by_account ON grants (account, name) WHERE removed_ms IS NULL;
CREATE INDEX grants_gone ON grants (id) WHERE removed_ms IS NOT NULL;
CREATE INDEX ledger_pages_by_time ON ledger_pages (last_ms, first_ms);
CREATE INDEX leases_by_account ON leases (account, id);
CREATE INDEX leases_by_caller ON leases (caller, id);
CREATE INDEX leases_metered ON leases (account, opened_ms, credits) WHERE credits > 0 AND void_kind IS NULL;
CREATE INDEX revocations_by_time ON revocations (at_ms);
CREATE INDEX revocations_by_end ON revocations (keep_until_ms);
CREATE INDEX revocations_by_parent ON revocations (parent, keep_until_ms) WHERE parent IS NOT NULL;
CREATE INDEX workspaces_by_bucket ON workspaces (bucket);
CREATE UNIQUE INDEX workspaces_default ON workspaces (account) WHERE is_default = 1;
CREATE INDEX package_uploads_by_caller ON package_uploads (caller, made_ms);
CREATE INDEX package_uploads_by_end ON package_uploads (until_ms);
CREATE INDEX share_recipients_by_account ON share_recipients (account);
CREATE INDEX share_grants_by_share ON share_grants (share, account, caller);
CREATE INDEX share_grants_by_table ON share_grants (shared_table);
CREATE INDEX share_links_by_caller ON share_links (caller);
CREATE INDEX share_links_by_maker ON share_links (made_by) WHERE made_by IS NOT NULL;
CREATE INDEX share_links_by_end ON share_links (until_ms);
CREATE INDEX issued_by_key ON issued (key_id, lease);
CREATE UNIQUE INDEX package_blobs_by_file ON package_blobs (file) WHERE file IS NOT NULL;
CREATE INDEX tokens_live ON tokens (account, until_ms) WHERE revoked_ms IS NULL;
CREATE INDEX leases_by_long_scope ON leases (scope) WHERE length(scope) = 33;
CREATE INDEX tokens_by_maker ON tokens (made_by) WHERE made_by IS NOT NULL;
CREATE INDEX ledger_pages_noted ON ledger_pages (seq) WHERE notes > 0;
CREATE INDEX grants_by_workspace ON grants (workspace) WHERE workspace IS NOT NULL;
CREATE INDEX leases_by_asked_with ON leases (asked_with, id) WHERE asked_with IS NOT NULL;
CREATE INDEX leases_narrowed ON leases (id) WHERE narrowed_from IS NOT NULL;

INSERT INTO ledger_folded (one, seq) VALUES (1, 0);

-- The pages that are not in the index yet. The number of a page has its chain in the bits from the fortieth on.
CREATE VIEW unfolded_pages AS
    SELECT p.* FROM ledger_folded f JOIN ledger_pages p ON p.seq > f.seq AND p.seq <= (f.one << 40);

-- What was changed of the registry, one after the other, for the other nodes: what each touched of what they keep in memory.
CREATE TABLE changes (
    seq BIGINT PRIMARY KEY,
    node BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    touched BYTEA NOT NULL
);

-- Credentials of external storages, sealed, and who fetches the next of a key.
CREATE TABLE pooled_credentials (
    key BYTEA PRIMARY KEY,
    version BIGINT NOT NULL DEFAULT 0,
    claimant BYTEA,
    claimed_until_ms BIGINT NOT NULL DEFAULT 0,
    storage BYTEA,
    key_id TEXT COLLATE "C",
    sealed BYTEA,
    ends_ms BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX pooled_credentials_by_key_id ON pooled_credentials (storage, key_id);
CREATE INDEX pooled_credentials_by_end ON pooled_credentials (ends_ms);

-- Who writes each chain, by the chain's row; when it was seen, and the last page that it told of.
CREATE TABLE nodes (
    chain BIGINT PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    seen_ms BIGINT NOT NULL,
    head BIGINT NOT NULL,
    holder BYTEA NOT NULL,
    version TEXT COLLATE "C" NOT NULL DEFAULT '',
    embedded BIGINT NOT NULL DEFAULT 0
);

-- The change that a revocation was made with.
ALTER TABLE revocations ADD COLUMN change BIGINT NOT NULL
    DEFAULT coalesce(nullif(current_setting('valetkey.change', true), '')::BIGINT, 0);
CREATE INDEX revocations_by_change ON revocations (change);

-- A write that changes nothing anybody reads: whether writing works.
CREATE TABLE trial (
    number BIGINT NOT NULL
);
INSERT INTO trial (number) VALUES (0);

-- Where one string of bytes stands in another, as SQLite has it.
CREATE FUNCTION instr(BYTEA, BYTEA) RETURNS INT LANGUAGE SQL IMMUTABLE STRICT AS 'SELECT position($2 IN $1)';

-- Who holds how much: the database counts by itself and refuses what is too much, so that no way to make a thing can forget to.
CREATE FUNCTION hold(kind TEXT, who BYTEA, more BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE held BIGINT;
BEGIN
    INSERT INTO holdings AS h (holder, what, count) VALUES (who, kind, more)
    ON CONFLICT (holder, what) DO UPDATE SET count = h.count + excluded.count RETURNING h.count INTO held;
    IF more > 0 AND held > (SELECT most FROM holding_limits WHERE what = kind) THEN
        RAISE EXCEPTION 'holding: %', kind;
    END IF;
END $$;

-- The first argument is what is held, the second the column of who holds it; none: the server itself.
CREATE FUNCTION held() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE who BYTEA := '';
BEGIN
    IF TG_NARGS > 1 THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[1]) USING NEW INTO who;
    END IF;
    PERFORM hold(TG_ARGV[0], who, 1);
    RETURN NULL;
END $$;

CREATE FUNCTION released() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE who BYTEA := '';
BEGIN
    IF TG_NARGS > 1 THEN
        EXECUTE format('SELECT ($1).%I', TG_ARGV[1]) USING OLD INTO who;
    END IF;
    PERFORM hold(TG_ARGV[0], who, -1);
    RETURN NULL;
END $$;

-- What held others is gone.
CREATE FUNCTION holds_no_more() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM holdings WHERE holder = OLD.id;
    RETURN NULL;
END $$;

CREATE TRIGGER callers_held AFTER INSERT ON callers FOR EACH ROW EXECUTE FUNCTION held('callers', 'account');
CREATE TRIGGER callers_released AFTER DELETE ON callers FOR EACH ROW EXECUTE FUNCTION released('callers', 'account');
CREATE TRIGGER callers_removed AFTER UPDATE OF standing ON callers FOR EACH ROW
    WHEN (OLD.standing <> 2 AND NEW.standing = 2) EXECUTE FUNCTION released('callers', 'account');
CREATE TRIGGER grants_held AFTER INSERT ON grants FOR EACH ROW EXECUTE FUNCTION held('grants', 'account');
CREATE TRIGGER grants_removed AFTER UPDATE OF removed_ms ON grants FOR EACH ROW
    WHEN (OLD.removed_ms IS NULL AND NEW.removed_ms IS NOT NULL) EXECUTE FUNCTION released('grants', 'account');
CREATE TRIGGER grants_released AFTER DELETE ON grants FOR EACH ROW
    WHEN (OLD.removed_ms IS NULL) EXECUTE FUNCTION released('grants', 'account');
CREATE TRIGGER workspaces_held AFTER INSERT ON workspaces FOR EACH ROW EXECUTE FUNCTION held('workspaces', 'account');
CREATE TRIGGER workspaces_released AFTER DELETE ON workspaces FOR EACH ROW EXECUTE FUNCTION released('workspaces', 'account');
CREATE TRIGGER workspaces_hold_no_more AFTER DELETE ON workspaces FOR EACH ROW EXECUTE FUNCTION holds_no_more();
CREATE TRIGGER projects_held AFTER INSERT ON projects FOR EACH ROW EXECUTE FUNCTION held('projects', 'workspace');
CREATE TRIGGER projects_released AFTER DELETE ON projects FOR EACH ROW EXECUTE FUNCTION released('projects', 'workspace');
CREATE TRIGGER shares_held AFTER INSERT ON shares FOR EACH ROW EXECUTE FUNCTION held('shares', 'account');
CREATE TRIGGER shares_released AFTER DELETE ON shares FOR EACH ROW EXECUTE FUNCTION released('shares', 'account');
CREATE TRIGGER shares_hold_no_more AFTER DELETE ON shares FOR EACH ROW EXECUTE FUNCTION holds_no_more();
CREATE TRIGGER shared_tables_held AFTER INSERT ON shared_tables FOR EACH ROW EXECUTE FUNCTION held('shared-tables', 'share');
CREATE TRIGGER shared_tables_released AFTER DELETE ON shared_tables
    FOR EACH ROW EXECUTE FUNCTION released('shared-tables', 'share');
CREATE TRIGGER share_recipients_held AFTER INSERT ON share_recipients FOR EACH ROW EXECUTE FUNCTION held('recipients', 'share');
CREATE TRIGGER share_recipients_released AFTER DELETE ON share_recipients
    FOR EACH ROW EXECUTE FUNCTION released('recipients', 'share');
CREATE TRIGGER package_manifests_held AFTER INSERT ON package_manifests
    FOR EACH ROW EXECUTE FUNCTION held('manifests', 'account');
CREATE TRIGGER package_manifests_released AFTER DELETE ON package_manifests
    FOR EACH ROW EXECUTE FUNCTION released('manifests', 'account');
CREATE TRIGGER package_tags_held AFTER INSERT ON package_tags FOR EACH ROW EXECUTE FUNCTION held('tags', 'account');
CREATE TRIGGER package_tags_released AFTER DELETE ON package_tags FOR EACH ROW EXECUTE FUNCTION released('tags', 'account');
CREATE TRIGGER datasets_held AFTER INSERT ON datasets FOR EACH ROW EXECUTE FUNCTION held('datasets');
CREATE TRIGGER datasets_released AFTER DELETE ON datasets FOR EACH ROW EXECUTE FUNCTION released('datasets');

CREATE FUNCTION blobs_held() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM hold('blobs', NEW.account, 1);
    PERFORM hold('blob-bytes', NEW.account, coalesce(NEW.size, length(NEW.body)));
    RETURN NULL;
END $$;
CREATE FUNCTION blobs_released() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM hold('blobs', OLD.account, -1);
    PERFORM hold('blob-bytes', OLD.account, -coalesce(OLD.size, length(OLD.body)));
    RETURN NULL;
END $$;
CREATE TRIGGER package_blobs_held AFTER INSERT ON package_blobs FOR EACH ROW EXECUTE FUNCTION blobs_held();
CREATE TRIGGER package_blobs_released AFTER DELETE ON package_blobs FOR EACH ROW EXECUTE FUNCTION blobs_released();

-- Tokens end by themselves, so those that live are counted when another one is made. So are links to download a profile; those that are
-- over go then.
CREATE FUNCTION tokens_held() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE who BYTEA := (SELECT account FROM callers WHERE id = NEW.caller);
BEGIN
    UPDATE tokens SET account = who WHERE id = NEW.id;
    IF (SELECT most FROM holding_limits WHERE what = 'tokens') <
        (SELECT count(*) FROM tokens t WHERE t.account = who AND t.revoked_ms IS NULL
         AND (t.until_ms IS NULL OR t.until_ms > NEW.made_ms)) THEN
        RAISE EXCEPTION 'holding: tokens';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tokens_held AFTER INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION tokens_held();

CREATE FUNCTION parents_held() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM holding_limits l JOIN tokens own ON own.id = NEW.token WHERE l.what = 'parent-keys' AND l.most <
        (SELECT count(*) FROM tokens t JOIN parents p ON p.token = t.id
         WHERE t.account = own.account AND t.revoked_ms IS NULL AND (t.until_ms IS NULL OR t.until_ms > own.made_ms))) THEN
        RAISE EXCEPTION 'holding: parent-keys';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER parents_held AFTER INSERT ON parents FOR EACH ROW EXECUTE FUNCTION parents_held();

CREATE FUNCTION share_links_held() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM share_links WHERE caller = NEW.caller AND until_ms <= NEW.made_ms;
    IF EXISTS (SELECT 1 FROM holding_limits l JOIN callers own ON own.id = NEW.caller WHERE l.what = 'profile-links' AND l.most <
        (SELECT count(*) FROM callers c JOIN share_links s ON s.caller = c.id
         WHERE c.account = own.account AND s.used_ms IS NULL AND s.until_ms > NEW.made_ms)) THEN
        RAISE EXCEPTION 'holding: profile-links';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER share_links_held AFTER INSERT ON share_links FOR EACH ROW EXECUTE FUNCTION share_links_held();

-- What files own: their sets, and whose each thing is.
CREATE TABLE policy_sets (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owns TEXT COLLATE "C" NOT NULL,
    about TEXT COLLATE "C" NOT NULL,                -- where the files are from, and their digest
    applied_ms BIGINT NOT NULL
);

CREATE TABLE managed (
    kind TEXT COLLATE "C" NOT NULL,                 -- account, caller, grant, dataset
    id BYTEA NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,               -- file:line
    applied TEXT COLLATE "C" NOT NULL,              -- what the files said of it
    PRIMARY KEY (kind, id)
);
CREATE INDEX managed_by_owner ON managed (owner);
