-- When a bucket was made; of those that are there already, when the server was first started with this.
ALTER TABLE buckets ADD COLUMN created_ms INTEGER;
