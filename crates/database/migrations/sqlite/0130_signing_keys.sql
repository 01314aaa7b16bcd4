-- The keys that sign identity tokens of this server; their private halves sealed with the keyring.
CREATE TABLE signing_keys (
    kid TEXT NOT NULL PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public TEXT NOT NULL,
    sealed BLOB NOT NULL,
    made_ms INTEGER NOT NULL,
    signs_from_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
