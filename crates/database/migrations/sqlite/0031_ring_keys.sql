-- What is known of the keys of the keyring: a check value of each, which proves a key and tells nothing of it.
CREATE TABLE ring_keys (
    number INTEGER PRIMARY KEY,
    check_value BLOB NOT NULL,
    place INTEGER NOT NULL,             -- 0 is the current one
    seen_ms INTEGER NOT NULL
) STRICT;
