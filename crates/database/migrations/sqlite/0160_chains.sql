-- A database that was copied from a server of Postgres has the chains of each of its nodes.
DROP VIEW unfolded_pages;
CREATE TABLE folded_chains (
    one INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO folded_chains SELECT one, seq FROM ledger_folded;
DROP TABLE ledger_folded;
ALTER TABLE folded_chains RENAME TO ledger_folded;

CREATE TABLE swept_chains (
    one INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    last_ms INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    leases INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
INSERT INTO swept_chains SELECT one, seq, hash, last_ms, pages, leases, sealed FROM ledger_swept;
DROP TABLE ledger_swept;
ALTER TABLE swept_chains RENAME TO ledger_swept;

-- The number of a page has its chain in the bits from the fortieth on.
CREATE VIEW unfolded_pages AS
    SELECT p.* FROM ledger_folded f JOIN ledger_pages p ON p.seq > f.seq AND p.seq <= (f.one << 40);
