-- Whether an operator let a token, or one that is downloaded later, outlive the token that made it. Of those that were made before it is told by
-- an end that is later.
ALTER TABLE tokens ADD COLUMN outlives INTEGER NOT NULL DEFAULT 0;
ALTER TABLE share_links ADD COLUMN outlives INTEGER NOT NULL DEFAULT 0;
UPDATE tokens SET outlives = 1 WHERE EXISTS (
    SELECT 1 FROM tokens AS maker WHERE maker.id = tokens.made_by AND maker.until_ms IS NOT NULL
    AND (tokens.until_ms IS NULL OR tokens.until_ms > maker.until_ms)
);
UPDATE share_links SET outlives = 1 WHERE EXISTS (
    SELECT 1 FROM tokens AS maker WHERE maker.id = share_links.made_by AND maker.until_ms IS NOT NULL
    AND (share_links.no_later_ms IS NULL OR share_links.no_later_ms > maker.until_ms)
);
