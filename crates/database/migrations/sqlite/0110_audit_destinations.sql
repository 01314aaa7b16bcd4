-- How far events were sent to each destination, and whose turn it is to send there.
CREATE TABLE audit_destinations (
    name TEXT NOT NULL PRIMARY KEY,
    sender BLOB NOT NULL,
    until_ms INTEGER NOT NULL,
    next TEXT
) STRICT, WITHOUT ROWID;
