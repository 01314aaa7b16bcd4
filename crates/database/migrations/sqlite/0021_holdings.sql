-- How much of each kind its holder has: an account, or the workspace or share that others are in. The database counts by itself and
-- refuses what is too much, so that no way to make a thing can forget to. The most of each kind is written when a server starts.
CREATE TABLE holdings (
    holder BLOB NOT NULL,
    what TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (holder, what)
) STRICT, WITHOUT ROWID;

CREATE TABLE holding_limits (
    what TEXT PRIMARY KEY,
    most INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO holdings SELECT account, 'callers', count(*) FROM callers GROUP BY account;
INSERT INTO holdings SELECT account, 'grants', count(*) FROM grants WHERE removed_ms IS NULL GROUP BY account;
INSERT INTO holdings SELECT account, 'workspaces', count(*) FROM workspaces GROUP BY account;
INSERT INTO holdings SELECT workspace, 'projects', count(*) FROM projects GROUP BY workspace;
INSERT INTO holdings SELECT account, 'shares', count(*) FROM shares GROUP BY account;
INSERT INTO holdings SELECT share, 'shared-tables', count(*) FROM shared_tables GROUP BY share;
INSERT INTO holdings SELECT share, 'recipients', count(*) FROM share_recipients GROUP BY share;
INSERT INTO holdings SELECT account, 'manifests', count(*) FROM package_manifests GROUP BY account;
INSERT INTO holdings SELECT account, 'tags', count(*) FROM package_tags GROUP BY account;
INSERT INTO holdings SELECT account, 'blobs', count(*) FROM package_blobs GROUP BY account;
INSERT INTO holdings
    SELECT account, 'blob-bytes', sum(coalesce(size, length(body))) FROM package_blobs GROUP BY account;
INSERT INTO holdings SELECT x'', 'datasets', count(*) FROM datasets HAVING count(*) > 0;

CREATE TRIGGER callers_held AFTER INSERT ON callers BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'callers', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: callers') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'callers' AND h.count > l.most;
END;
CREATE TRIGGER callers_released AFTER DELETE ON callers BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'callers';
END;

CREATE TRIGGER grants_held AFTER INSERT ON grants BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'grants', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: grants') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'grants' AND h.count > l.most;
END;
CREATE TRIGGER grants_removed AFTER UPDATE OF removed_ms ON grants
WHEN OLD.removed_ms IS NULL AND NEW.removed_ms IS NOT NULL BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'grants';
END;
CREATE TRIGGER grants_released AFTER DELETE ON grants WHEN OLD.removed_ms IS NULL BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'grants';
END;

CREATE TRIGGER workspaces_held AFTER INSERT ON workspaces BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'workspaces', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: workspaces') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'workspaces' AND h.count > l.most;
END;
CREATE TRIGGER workspaces_released AFTER DELETE ON workspaces BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'workspaces';
    DELETE FROM holdings WHERE holder = OLD.id;
END;

CREATE TRIGGER projects_held AFTER INSERT ON projects BEGIN
    INSERT INTO holdings VALUES (NEW.workspace, 'projects', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: projects') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.workspace AND h.what = 'projects' AND h.count > l.most;
END;
CREATE TRIGGER projects_released AFTER DELETE ON projects BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.workspace AND what = 'projects';
END;

CREATE TRIGGER shares_held AFTER INSERT ON shares BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'shares', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: shares') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'shares' AND h.count > l.most;
END;
CREATE TRIGGER shares_released AFTER DELETE ON shares BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'shares';
    DELETE FROM holdings WHERE holder = OLD.id;
END;

CREATE TRIGGER shared_tables_held AFTER INSERT ON shared_tables BEGIN
    INSERT INTO holdings VALUES (NEW.share, 'shared-tables', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: shared-tables') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.share AND h.what = 'shared-tables' AND h.count > l.most;
END;
CREATE TRIGGER shared_tables_released AFTER DELETE ON shared_tables BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.share AND what = 'shared-tables';
END;

CREATE TRIGGER share_recipients_held AFTER INSERT ON share_recipients BEGIN
    INSERT INTO holdings VALUES (NEW.share, 'recipients', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: recipients') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.share AND h.what = 'recipients' AND h.count > l.most;
END;
CREATE TRIGGER share_recipients_released AFTER DELETE ON share_recipients BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.share AND what = 'recipients';
END;

CREATE TRIGGER package_manifests_held AFTER INSERT ON package_manifests BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'manifests', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: manifests') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'manifests' AND h.count > l.most;
END;
CREATE TRIGGER package_manifests_released AFTER DELETE ON package_manifests BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'manifests';
END;

CREATE TRIGGER package_tags_held AFTER INSERT ON package_tags BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'tags', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: tags') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'tags' AND h.count > l.most;
END;
CREATE TRIGGER package_tags_released AFTER DELETE ON package_tags BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'tags';
END;

CREATE TRIGGER package_blobs_held AFTER INSERT ON package_blobs BEGIN
    INSERT INTO holdings VALUES (NEW.account, 'blobs', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    INSERT INTO holdings VALUES (NEW.account, 'blob-bytes', coalesce(NEW.size, length(NEW.body)))
    ON CONFLICT DO UPDATE SET count = count + excluded.count;
    SELECT RAISE(ABORT, 'holding: blobs') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'blobs' AND h.count > l.most;
    SELECT RAISE(ABORT, 'holding: blob-bytes') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = NEW.account AND h.what = 'blob-bytes' AND h.count > l.most;
END;
CREATE TRIGGER package_blobs_released AFTER DELETE ON package_blobs BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = OLD.account AND what = 'blobs';
    UPDATE holdings SET count = count - coalesce(OLD.size, length(OLD.body))
    WHERE holder = OLD.account AND what = 'blob-bytes';
END;

CREATE TRIGGER datasets_held AFTER INSERT ON datasets BEGIN
    INSERT INTO holdings VALUES (x'', 'datasets', 1) ON CONFLICT DO UPDATE SET count = count + 1;
    SELECT RAISE(ABORT, 'holding: datasets') FROM holdings h JOIN holding_limits l ON l.what = h.what
    WHERE h.holder = x'' AND h.what = 'datasets' AND h.count > l.most;
END;
CREATE TRIGGER datasets_released AFTER DELETE ON datasets BEGIN
    UPDATE holdings SET count = count - 1 WHERE holder = x'' AND what = 'datasets';
END;

-- Tokens end by themselves, so those that live are counted when another one is made.
ALTER TABLE tokens ADD COLUMN account BLOB;
UPDATE tokens SET account = (SELECT account FROM callers WHERE callers.id = tokens.caller);
CREATE INDEX tokens_live ON tokens (account, until_ms) WHERE revoked_ms IS NULL;

CREATE TRIGGER tokens_held AFTER INSERT ON tokens BEGIN
    UPDATE tokens SET account = (SELECT account FROM callers WHERE callers.id = NEW.caller) WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'holding: tokens') FROM holding_limits l JOIN callers c ON c.id = NEW.caller
    WHERE l.what = 'tokens' AND l.most <
        (SELECT count(*) FROM tokens t WHERE t.account = c.account AND t.revoked_ms IS NULL AND t.until_ms IS NULL)
        + (SELECT count(*) FROM tokens t WHERE t.account = c.account AND t.revoked_ms IS NULL AND t.until_ms > NEW.made_ms);
END;

CREATE TRIGGER parents_held AFTER INSERT ON parents BEGIN
    SELECT RAISE(ABORT, 'holding: parent-keys') FROM holding_limits l JOIN tokens own ON own.id = NEW.token
    WHERE l.what = 'parent-keys' AND l.most <
        (SELECT count(*) FROM tokens t JOIN parents p ON p.token = t.id
         WHERE t.account = own.account AND t.revoked_ms IS NULL AND (t.until_ms IS NULL OR t.until_ms > own.made_ms));
END;
