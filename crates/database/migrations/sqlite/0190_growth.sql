-- The parent access key whose holder made the credential that is ended: so many of one key's are counted, whatever server counts.
ALTER TABLE revocations ADD COLUMN parent BLOB;
CREATE INDEX revocations_by_parent ON revocations (parent, keep_until_ms) WHERE parent IS NOT NULL;

-- When the identity token itself is over: until then its session says whether it may be taken again.
ALTER TABLE identity_sessions ADD COLUMN jwt_until_ms INTEGER;

-- What is looked for when rows of what is over are removed.
CREATE INDEX share_links_by_maker ON share_links (made_by) WHERE made_by IS NOT NULL;
CREATE INDEX share_links_by_end ON share_links (until_ms);
CREATE INDEX grants_gone ON grants (id) WHERE removed_ms IS NOT NULL;
