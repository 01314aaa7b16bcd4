-- Paths with placeholders, filled in for each caller (Scope::encode, with the placeholders in its paths); then `scope` is empty.
ALTER TABLE grants ADD COLUMN template BLOB;
