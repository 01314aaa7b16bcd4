-- What went over the S3 endpoint, by day in UTC.
CREATE TABLE traffic (
    account BLOB NOT NULL,
    day_s INTEGER NOT NULL,
    caller BLOB NOT NULL,
    requests INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    PRIMARY KEY (account, day_s, caller)
) STRICT, WITHOUT ROWID;
