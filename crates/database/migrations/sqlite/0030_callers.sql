-- 0 active, 1 suspended, 2 removed: a removed caller stays, so that its leases can be told whose they were; its name is free again.
ALTER TABLE callers ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;

-- The token that made a token; null for the server itself, and from before this was kept.
ALTER TABLE tokens ADD COLUMN made_by BLOB;
CREATE INDEX tokens_by_maker ON tokens (made_by) WHERE made_by IS NOT NULL;

ALTER TABLE share_links ADD COLUMN made_by BLOB;
ALTER TABLE share_links ADD COLUMN no_later_ms INTEGER;     -- the token made of it ends no later

-- One that was removed is no longer held.
CREATE TRIGGER callers_removed AFTER UPDATE OF standing ON callers WHEN OLD.standing <> 2 AND NEW.standing = 2 BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'callers';
END;
