-- Where the ledger begins, once its oldest pages were removed: the last page that is gone, sealed with the keyring.
CREATE TABLE ledger_swept (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    last_ms INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    leases INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

-- Who names a scope that is stored on its own: 0x00 and 32 bytes.
CREATE INDEX leases_by_long_scope ON leases (scope) WHERE length(scope) = 33;
