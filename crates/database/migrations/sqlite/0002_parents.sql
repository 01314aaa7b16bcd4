-- Of a token the SHA-256 of its SHA-256 is kept (form 2): the SHA-256 alone is the secret of a parent access key. Rows of form 1
-- hold that from before, of tokens that were none; they are brought to form 2 when the store is opened.
ALTER TABLE tokens ADD COLUMN form INTEGER NOT NULL DEFAULT 1;

-- Tokens that are parent access keys, with their secrets, sealed with the keyring.
CREATE TABLE parents (
    token BLOB PRIMARY KEY REFERENCES tokens (id),
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
