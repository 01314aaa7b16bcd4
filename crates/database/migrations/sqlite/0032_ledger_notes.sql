-- Entries of a page that are no lease's: ends, what tokens are, who changed what.
ALTER TABLE ledger_pages ADD COLUMN notes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ledger_pages_noted ON ledger_pages (seq) WHERE notes > 0;

-- There once the chain covers revocations and tokens.
CREATE TABLE ledger_covered (
    one INTEGER PRIMARY KEY CHECK (one = 1)
) STRICT;
