-- What was removed stays on record where others still name it (leases, removed grants); its name is free again, as a caller's is.
ALTER TABLE accounts ADD COLUMN removed_ms INTEGER;
ALTER TABLE storages ADD COLUMN removed_ms INTEGER;

-- The workspace that a grant was made for, with it: it goes with it. Those from before are known by the name and the millisecond that
-- they were made with.
ALTER TABLE grants ADD COLUMN workspace BLOB;
UPDATE grants SET workspace = (
    SELECT w.id FROM workspaces w
    WHERE w.account = grants.account AND w.storage = grants.storage AND w.made_ms = grants.made_ms
        AND (grants.name = 'workspace-' || w.key OR substr(grants.name, 1, length(w.key) + 11) = 'workspace-' || w.key || '-')
    ORDER BY length(w.key) DESC LIMIT 1
) WHERE share IS NULL AND substr(name, 1, 10) = 'workspace-';
CREATE INDEX grants_by_workspace ON grants (workspace) WHERE workspace IS NOT NULL;
