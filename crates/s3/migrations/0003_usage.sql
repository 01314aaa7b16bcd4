-- What each account keeps here: whole objects, and parts of uploads that are not complete. What was written before, or by the
-- server itself, is nobody's. Counted where rows come and go, so that no change of them can forget to.
ALTER TABLE objects ADD COLUMN account BLOB;

CREATE TABLE usage (
    account BLOB    PRIMARY KEY,
    bytes   INTEGER NOT NULL,
    objects INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO usage (account, bytes, objects)
    SELECT u.account, sum(p.size), 0 FROM parts p JOIN uploads u ON u.id = p.upload GROUP BY u.account;

-- None of these rows is written with `OR REPLACE`: that would hold inside the triggers too.
CREATE TRIGGER objects_in AFTER INSERT ON objects WHEN NEW.account IS NOT NULL BEGIN
    INSERT INTO usage (account, bytes, objects) VALUES (NEW.account, NEW.size, 1)
        ON CONFLICT (account) DO UPDATE SET bytes = bytes + excluded.bytes, objects = objects + 1;
END;
CREATE TRIGGER objects_out AFTER DELETE ON objects WHEN OLD.account IS NOT NULL BEGIN
    UPDATE usage SET bytes = bytes - OLD.size, objects = objects - 1 WHERE account = OLD.account;
END;
CREATE TRIGGER parts_in AFTER INSERT ON parts BEGIN
    INSERT INTO usage (account, bytes, objects) SELECT account, NEW.size, 0 FROM uploads WHERE id = NEW.upload
        ON CONFLICT (account) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER parts_out AFTER DELETE ON parts BEGIN
    UPDATE usage SET bytes = bytes - OLD.size WHERE account = (SELECT account FROM uploads WHERE id = OLD.upload);
END;
