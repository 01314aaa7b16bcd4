-- How the credential of each lease was used at the S3 endpoint.
CREATE TABLE lease_uses (
    lease BLOB PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    from_addr BLOB,
    requests INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
