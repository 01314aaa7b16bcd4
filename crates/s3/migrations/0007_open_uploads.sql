-- How many uploads each account has open, counted where they come and go.
ALTER TABLE usage ADD COLUMN uploads INTEGER NOT NULL DEFAULT 0;
INSERT INTO usage (account, bytes, objects, uploads)
    SELECT account, 0, 0, count(*) FROM uploads WHERE true GROUP BY account
    ON CONFLICT (account) DO UPDATE SET uploads = excluded.uploads;

CREATE TRIGGER uploads_in AFTER INSERT ON uploads BEGIN
    INSERT INTO usage (account, bytes, objects, uploads) VALUES (NEW.account, 0, 0, 1)
        ON CONFLICT (account) DO UPDATE SET uploads = uploads + 1;
END;
CREATE TRIGGER uploads_out AFTER DELETE ON uploads BEGIN
    UPDATE usage SET uploads = uploads - 1 WHERE account = OLD.account;
END;
