-- Which pages of other origins may use a bucket from a browser: its rules, in their order. Lists are lines.
CREATE TABLE cors (
    bucket       INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    name         TEXT,
    origins      TEXT    NOT NULL,
    methods      TEXT    NOT NULL,
    headers      TEXT    NOT NULL,
    exposed      TEXT    NOT NULL,
    max_age_secs INTEGER,
    PRIMARY KEY (bucket, at)
) STRICT, WITHOUT ROWID;
