-- The token that access was asked with.
ALTER TABLE access_requests ADD COLUMN token BLOB;
