-- Links to download a profile that may still be used are bounded like everything else that an account holds. They end by themselves, so
-- those that live are counted when another one is made; those that are over go then.
CREATE TRIGGER share_links_held AFTER INSERT ON share_links BEGIN
    DELETE FROM share_links WHERE caller = NEW.caller AND until_ms <= NEW.made_ms;
    SELECT RAISE(ABORT, 'holding: profile-links') FROM holding_limits l JOIN callers own ON own.id = NEW.caller
    WHERE l.what = 'profile-links' AND l.most <
        (SELECT count(*) FROM callers c JOIN share_links s ON s.caller = c.id
         WHERE c.account = own.account AND s.used_ms IS NULL AND s.until_ms > NEW.made_ms);
END;
