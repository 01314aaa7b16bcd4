-- A grant that a share made answers asks for that share and no others.
ALTER TABLE grants ADD COLUMN share BLOB;
