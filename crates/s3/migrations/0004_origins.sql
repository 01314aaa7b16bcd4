-- Which upload an object was made by, and of which parts: for who completes it once more, and for what is told of single parts.
-- Goes when the object goes or is replaced; of an object in another store, when what is kept of it here does.
CREATE TABLE origins (
    bucket  INTEGER NOT NULL,
    key     BLOB    NOT NULL,
    upload  BLOB    NOT NULL,
    account BLOB    NOT NULL,
    caller  BLOB    NOT NULL,
    parts   BLOB    NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER objects_gone AFTER DELETE ON objects BEGIN
    DELETE FROM origins WHERE bucket = OLD.bucket AND key = OLD.key;
END;
