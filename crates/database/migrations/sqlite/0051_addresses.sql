-- The address that asked, beside each lease and each refusal: 4 bytes or 16. What was there before has none.
ALTER TABLE leases ADD COLUMN from_addr BLOB;

CREATE TABLE refusals_by_address (
    minute_s INTEGER NOT NULL,
    account BLOB NOT NULL,
    caller BLOB NOT NULL,
    dialect TEXT NOT NULL,
    kind TEXT NOT NULL,
    from_addr BLOB NOT NULL,            -- empty where it is not known, or too many were told apart already
    count INTEGER NOT NULL,
    PRIMARY KEY (minute_s, account, caller, dialect, kind, from_addr)
) STRICT, WITHOUT ROWID;
INSERT INTO refusals_by_address SELECT minute_s, account, caller, dialect, kind, x'', count FROM refusals;
DROP TABLE refusals;
ALTER TABLE refusals_by_address RENAME TO refusals;
