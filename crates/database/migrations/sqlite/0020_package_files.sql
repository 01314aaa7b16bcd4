-- The bytes of a blob stand in a file of this name, and `body` is empty; blobs from before have neither and stand in `body`.
ALTER TABLE package_blobs ADD COLUMN file BLOB;
ALTER TABLE package_blobs ADD COLUMN size INTEGER;
CREATE UNIQUE INDEX package_blobs_by_file ON package_blobs (file) WHERE file IS NOT NULL;
