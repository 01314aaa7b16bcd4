DELETE FROM access_requests WHERE caller = $1 AND made_ms < $2
DELETE FROM access_requests WHERE id IN (SELECT id FROM access_requests WHERE made_ms < $1 LIMIT 256)
DELETE FROM buckets WHERE name = $1
DELETE FROM changes WHERE at_ms < $1 AND seq < (SELECT max(seq) FROM changes)
DELETE FROM changes WHERE seq > $1
DELETE FROM datasets WHERE id = $1
DELETE FROM group_members WHERE caller = $1
DELETE FROM group_members WHERE member_of = $1
DELETE FROM identity_cutoffs WHERE provider = $1
DELETE FROM identity_providers WHERE id = $1
DELETE FROM issued WHERE lease = $1
DELETE FROM leases WHERE id = $1
DELETE FROM ledger_pages WHERE seq = $1
DELETE FROM ledger_pages WHERE seq > $1
DELETE FROM ledger_pages WHERE seq > $1 AND seq <= $2
DELETE FROM managed WHERE kind = $1 AND id = $2
DELETE FROM managed WHERE owner = $1
DELETE FROM package_uploads WHERE account = $1
DELETE FROM package_uploads WHERE key = $1
DELETE FROM package_uploads WHERE key IN (SELECT key FROM package_uploads WHERE caller = $1 ORDER BY made_ms DESC LIMIT 9223372036854775807 OFFSET $2)
DELETE FROM package_uploads WHERE until_ms <= $1
DELETE FROM policy_sets WHERE name = $1
DELETE FROM pooled_credentials WHERE claimed_until_ms <= $1 AND (ends_ms <= $1 OR ends_ms < (SELECT ends_ms FROM pooled_credentials ORDER BY ends_ms DESC LIMIT 1 OFFSET $2))
DELETE FROM pooled_credentials WHERE storage = $1 AND key_id = $2
DELETE FROM projects WHERE id = $1
DELETE FROM refusals WHERE minute_s < $1 AND minute_s <= coalesce((SELECT minute_s FROM refusals WHERE minute_s < $1 ORDER BY minute_s LIMIT 1 OFFSET $2), $1)
DELETE FROM request_rules WHERE id = $1
DELETE FROM requests WHERE account = $1 AND second_s < $2 AND second_s <= coalesce( (SELECT second_s FROM requests WHERE account = $1 AND second_s < $2 ORDER BY second_s LIMIT 1 OFFSET $3), $2)
DELETE FROM share_grants WHERE caller = $1
DELETE FROM share_grants WHERE grant_id = $1
DELETE FROM share_links WHERE caller = $1 AND used_ms IS NULL
DELETE FROM share_links WHERE digest IN (SELECT digest FROM share_links WHERE until_ms < $1 LIMIT 256)
DELETE FROM share_links WHERE made_by = $1 AND used_ms IS NULL
DELETE FROM share_recipients WHERE caller = $1
DELETE FROM share_recipients WHERE share = $1
DELETE FROM share_recipients WHERE share = $1 AND account = $2 AND caller = $3
DELETE FROM shared_tables WHERE id = $1
DELETE FROM shared_tables WHERE share = $1
DELETE FROM shares WHERE id = $1
DELETE FROM signing_keys WHERE kid = $1
DELETE FROM traffic WHERE account = $1 AND day_s < $2 AND day_s <= coalesce( (SELECT day_s FROM traffic WHERE account = $1 AND day_s < $2 ORDER BY day_s LIMIT 1 OFFSET $3), $2)
DELETE FROM trust_rules WHERE id = $1
DELETE FROM trust_rules WHERE provider = $1
DELETE FROM workspaces WHERE id = $1
INSERT INTO access_requests (id, account, caller, rule, storage, scope, secs, reason, made_ms, token) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
INSERT INTO accounts (id, name, standing, vend_credits, made_ms) VALUES ($1, $2, $3, $4, $5)
INSERT INTO buckets (name, storage, made_ms) VALUES ($1, $2, $3)
INSERT INTO caller_groups (id, account, name, provider, claims, version, made_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
INSERT INTO callers (id, account, name, role, made_ms) VALUES ($1, $2, $3, $4, $5)
INSERT INTO changes (seq, node, at_ms, touched) VALUES ($1, $2, $3, $4)
INSERT INTO credit_grants (account, credits, made_ms) VALUES ($1, $2, $3)
INSERT INTO credits (account, granted, used) VALUES ($1, 0, 0)
INSERT INTO datasets (id, name, topic, description, storage, bucket, path_kind, path, format, frequency, version, deprecated, made_ms, newest, dictionary, sample) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
INSERT INTO grants (id, account, name, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, made_ms, share, workspace, member_of, conditions, request, template) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
INSERT INTO group_members (member_of, caller) VALUES ($1, $2)
INSERT INTO holding_limits (what, most) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET most = excluded.most WHERE holding_limits.most <> excluded.most
INSERT INTO identity_cutoffs (provider, kind, value, at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (provider, kind, value) DO UPDATE SET at_ms = excluded.at_ms
INSERT INTO identity_providers (id, name, preset, issuer, keys_kind, keys, audiences, parties, subject, algorithms, leeway_s, max_age_s, login_client, login_scopes, version, made_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
INSERT INTO identity_sessions (token, provider, provider_name, rule, rule_name, subject, jti, jwt, claims, jwt_until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
INSERT INTO issued (lease, key_id, request_id, ends_s) VALUES ($1,$2,$3,$4) ON CONFLICT DO NOTHING
INSERT INTO leases (id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, revoked_ms, revoked_by) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16) ON CONFLICT DO NOTHING
INSERT INTO ledger_covered (one) VALUES (1)
INSERT INTO ledger_folded (one, seq) VALUES ($1, $2) ON CONFLICT DO NOTHING
INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, hash, body) SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE ($9 = 1 OR EXISTS (SELECT 1 FROM ledger_pages WHERE seq = $1 - 1 AND hash = $10)) AND (SELECT coalesce(max(seq), 0) FROM changes) = $11 AND EXISTS (SELECT 1 FROM nodes WHERE chain = $12 AND holder = $13)
INSERT INTO ledger_pages (seq, first_ms, last_ms, opens, voids, issues, notes, hash, body) VALUES ($1, $2, $3, 0, 0, 0, $4, $5, $6)
INSERT INTO ledger_swept (one, seq, hash, last_ms, pages, leases, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, last_ms = excluded.last_ms, pages = excluded.pages, leases = excluded.leases, sealed = excluded.sealed
INSERT INTO managed (kind, id, owner, source, applied) VALUES ($1, $2, $3, $4, $5)
INSERT INTO nodes (chain, name, seen_ms, head, holder) VALUES ($1, '', 0, 0, $2) ON CONFLICT (chain) DO UPDATE SET holder = excluded.holder
INSERT INTO package_blobs (account, digest, made_ms, made_by, body, file, size) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, digest) DO NOTHING
INSERT INTO package_manifests (account, package, digest, media_type, made_ms, body) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, package, digest) DO UPDATE SET media_type = excluded.media_type
INSERT INTO package_tags (account, package, tag, digest, updated_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, package, tag) DO UPDATE SET digest = excluded.digest, updated_ms = excluded.updated_ms
INSERT INTO package_uploads (key, account, caller, package, made_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6)
INSERT INTO parents (token, sealed) VALUES ($1, $2)
INSERT INTO policy_sets (name, owns, about, applied_ms) VALUES ($1, $2, $3, $4)
INSERT INTO pooled_credentials AS p (key, claimant, claimed_until_ms) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET claimant = excluded.claimant, claimed_until_ms = excluded.claimed_until_ms WHERE p.version = $4 AND p.claimed_until_ms <= $5
INSERT INTO pooled_credentials AS p (key, version, storage, key_id, sealed, ends_ms) VALUES ($1, 1, $2, $3, $4, $5) ON CONFLICT (key) DO UPDATE SET version = p.version + 1, claimant = NULL, claimed_until_ms = 0, storage = excluded.storage, key_id = excluded.key_id, sealed = excluded.sealed, ends_ms = excluded.ends_ms
INSERT INTO projects (id, workspace, key, name, description, made_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
INSERT INTO refusals (minute_s, account, caller, dialect, kind, from_addr, count) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (minute_s, account, caller, dialect, kind, from_addr) DO UPDATE SET count = refusals.count + excluded.count
INSERT INTO request_rules (name, account, caller, member_of, bucket, scope, most_secs, approvers, version, id, made_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
INSERT INTO requests (account, second_s, token, origin, count) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, second_s, token, origin) DO UPDATE SET count = requests.count + excluded.count
INSERT INTO revocations (kind, target, at_ms, by_caller, keep_until_ms, parent) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
INSERT INTO scopes (digest, body) VALUES ($1, $2) ON CONFLICT DO NOTHING
INSERT INTO share_grants (grant_id, share, shared_table, account, caller) VALUES ($1, $2, $3, $4, $5)
INSERT INTO share_links (digest, caller, kind, token_lifetime_s, until_ms, made_ms, made_by, no_later_ms, outlives) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
INSERT INTO share_recipients (share, account, caller, max_lifetime_s, until_ms, made_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (share, account, caller) DO UPDATE SET max_lifetime_s = excluded.max_lifetime_s, until_ms = excluded.until_ms
INSERT INTO shared_tables (id, share, schema_name, schema_folded, name, folded, storage, bucket, root, auxiliary, access, history, format, made_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
INSERT INTO shares (id, account, name, folded, comment, made_ms) VALUES ($1, $2, $3, $4, $5, $6)
INSERT INTO signing_keys (kid, algorithm, public, sealed, made_ms, signs_from_ms) VALUES ($1, $2, $3, $4, $5, $6)
INSERT INTO storages (id, name, kind, endpoint, internal_endpoint, region, min_lifetime_s, max_lifetime_s, longest_s, settings, secrets, sharing, calls_per_sec, burst, revocation, made_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10, $11, $12, $13, $14, $15)
INSERT INTO tokens (id, caller, digest, tail, made_ms, until_ms, form, made_by, outlives) VALUES ($1, $2, $3, $4, $5, $6, 2, $7, $8)
INSERT INTO traffic (account, day_s, caller, requests, bytes_in, bytes_out) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, day_s, caller) DO UPDATE SET requests = traffic.requests + excluded.requests, bytes_in = traffic.bytes_in + excluded.bytes_in, bytes_out = traffic.bytes_out + excluded.bytes_out
INSERT INTO trust_rules (id, provider, place, name, account, caller, role, claims, outlive_s) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
INSERT INTO workspaces (id, account, key, name, storage, bucket, root, is_default, made_ms, updated_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
SELECT (SELECT count(*) FROM leases) - CAST(coalesce(sum(opens), 0) AS BIGINT), (SELECT count(*) FROM issued) - CAST(coalesce(sum(issues), 0) AS BIGINT) FROM ledger_pages WHERE seq NOT IN (SELECT seq FROM unfolded_pages)
SELECT 1 FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.jwt = $1 AND s.lapsed = 0 AND t.revoked_ms IS NOT NULL LIMIT 1
SELECT 1 FROM ledger_covered
SELECT 1 FROM package_uploads WHERE key = $1 AND account = $2 AND caller = $3 AND package = $4 AND until_ms > $5
SELECT 1 FROM scopes WHERE digest = $1
SELECT 1 FROM shares WHERE id = $1
SELECT 1 FROM storages WHERE id = $1 AND removed_ms IS NULL
SELECT 1 FROM tokens WHERE id = $1
SELECT 1 FROM unfolded_pages LIMIT 1
SELECT 1 FROM workspaces WHERE id = $1
SELECT CAST(coalesce(sum(count), 0) AS BIGINT) FROM requests WHERE account = $1 AND second_s >= $2 AND second_s < $3 AND ($4 IS NULL OR token = $4) AND ($5 IS NULL OR origin = $5)
SELECT CAST(coalesce(sum(credits), 0) AS BIGINT) FROM leases WHERE account = $1 AND opened_ms >= $2 AND opened_ms < $3 AND credits > 0 AND void_kind IS NULL
SELECT CAST(coalesce(sum(opens), 0) AS BIGINT) FROM unfolded_pages
SELECT a.name || '/' || c.name FROM callers c JOIN accounts a ON a.id = c.account WHERE c.id = $1 AND c.standing <> 2
SELECT a.name || '/' || c.name || ' …' || t.tail FROM tokens t JOIN callers c ON c.id = t.caller JOIN accounts a ON a.id = c.account WHERE t.id = $1
SELECT a.name || '/' || g.name FROM caller_groups g JOIN accounts a ON a.id = g.account WHERE g.id = $1 AND g.removed_ms IS NULL
SELECT a.name || '/' || g.name FROM grants g JOIN accounts a ON a.id = g.account WHERE g.id = $1 AND g.removed_ms IS NULL
SELECT a.name || '/' || w.key FROM workspaces w JOIN accounts a ON a.id = w.account WHERE w.id = $1
SELECT a.name || '/' || w.key || '/' || p.key FROM projects p JOIN workspaces w ON w.id = p.workspace JOIN accounts a ON a.id = w.account WHERE p.id = $1
SELECT account FROM caller_groups WHERE id = $1 AND removed_ms IS NULL
SELECT account FROM callers WHERE id = $1
SELECT account FROM grants WHERE id = $1
SELECT account FROM package_manifests WHERE account = $1 UNION SELECT account FROM package_blobs WHERE account = $1
SELECT at_ms FROM identity_cutoffs WHERE provider = $1 AND kind = $2 AND value = $3
SELECT body FROM ledger_pages WHERE seq IN ($1) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3,$4) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3,$4,$5) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3,$4,$5,$6) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3,$4,$5,$6,$7) ORDER BY last_ms DESC, seq DESC
SELECT body FROM ledger_pages WHERE seq IN ($1,$2,$3,$4,$5,$6,$7,$8) ORDER BY last_ms DESC, seq DESC
SELECT body FROM scopes WHERE digest = $1
SELECT body FROM unfolded_pages WHERE issues > 0 AND last_ms >= $1 AND first_ms <= $1 + $2
SELECT body FROM unfolded_pages WHERE last_ms >= $1 AND first_ms <= $1
SELECT body FROM unfolded_pages WHERE last_ms >= $1 AND opens > 0 ORDER BY seq
SELECT body FROM unfolded_pages WHERE voids > 0
SELECT body, file FROM package_blobs WHERE account = $1 AND digest = $2
SELECT caller, CAST(sum(requests) AS BIGINT), CAST(sum(bytes_in) AS BIGINT), CAST(sum(bytes_out) AS BIGINT) FROM traffic WHERE account = $1 AND day_s >= $2 AND day_s < $3 AND ($4 IS NULL OR caller = $4) GROUP BY caller ORDER BY sum(bytes_in) + sum(bytes_out) DESC, caller LIMIT $5
SELECT caller, kind, token_lifetime_s, until_ms, made_by, no_later_ms, outlives FROM share_links WHERE digest = $2 AND used_ms IS NULL AND until_ms > $1 AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.id = share_links.made_by AND tokens.revoked_ms IS NOT NULL)
SELECT chain FROM nodes WHERE name = 'node 1' ORDER BY chain
SELECT chain FROM nodes WHERE seen_ms < $1 ORDER BY chain
SELECT chain, name, version, seen_ms, head, holder, embedded FROM nodes ORDER BY chain
SELECT coalesce(max(seq), 0) FROM changes
SELECT coalesce(max(seq), 0), (SELECT count(*) FROM nodes WHERE chain = $1 AND holder = $2) FROM changes
SELECT coalesce(max(seq), 0), CAST(floor(random() * 1000000) AS BIGINT), (SELECT max(last_ms) FROM ledger_pages), (SELECT count(*) FROM nodes WHERE chain = $1 AND holder = $2) FROM changes
SELECT coalesce(size, length(body)) FROM package_blobs WHERE account = $1 AND digest = $2
SELECT count(*) FROM access_requests WHERE caller = $1 AND made_ms > $2
SELECT count(*) FROM access_requests WHERE caller = $1 AND made_ms > $2 AND decision IS NULL
SELECT count(*) FROM identity_sessions WHERE jwt = $1
SELECT count(*) FROM identity_sessions mine JOIN identity_sessions theirs ON theirs.provider = mine.provider AND theirs.subject = mine.subject JOIN tokens t ON t.id = theirs.token WHERE mine.token = $1 AND t.caller = $2
SELECT count(*) FROM ledger_pages WHERE opens > 0 GROUP BY seq >> 40 ORDER BY seq >> 40
SELECT count(*) FROM projects WHERE workspace = $1
SELECT count(*) FROM revocations
SELECT count(*) FROM revocations WHERE parent = $1 AND keep_until_ms > $2 AND target <> $3
SELECT current_database()
SELECT current_setting('server_version_num')::int, pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, current_setting('fsync'), current_setting('server_encoding')
SELECT day_s, CAST(sum(requests) AS BIGINT), CAST(sum(bytes_in) AS BIGINT), CAST(sum(bytes_out) AS BIGINT) FROM traffic WHERE account = $1 AND day_s >= $2 AND day_s < $3 AND ($4 IS NULL OR caller = $4) GROUP BY day_s ORDER BY day_s
SELECT digest FROM package_tags WHERE account = $1 AND package = $2 AND tag = $3
SELECT digest FROM scopes WHERE substr(body, 4, length($1)) = $1
SELECT digest FROM tokens WHERE id = $1
SELECT digest, body FROM scopes WHERE digest > $1 ORDER BY digest LIMIT $2
SELECT f.one, n.head FROM ledger_folded f LEFT JOIN nodes n ON n.chain = f.one ORDER BY f.one
SELECT grant_id, account FROM share_grants WHERE ($1 IS NULL OR share = $1) AND ($2 IS NULL OR shared_table = $2) AND ($3 IS NULL OR account = $3) AND ($4 IS NULL OR caller = $4)
SELECT granted, used FROM credits WHERE account = $1
SELECT id FROM accounts
SELECT id FROM caller_groups WHERE account = $1 AND removed_ms IS NULL ORDER BY name
SELECT id FROM callers WHERE account = $1 AND standing <> 2
SELECT id FROM datasets WHERE bucket = $1 ORDER BY name
SELECT id FROM grants WHERE account = $1 AND caller IS NULL AND member_of IS NULL AND share IS NULL AND workspace IS NULL AND removed_ms IS NULL ORDER BY name
SELECT id FROM grants WHERE caller = $1 AND removed_ms IS NULL AND share IS NULL ORDER BY name
SELECT id FROM grants WHERE dataset = $1 AND removed_ms IS NULL ORDER BY name
SELECT id FROM grants WHERE member_of = $1 AND removed_ms IS NULL ORDER BY name
SELECT id FROM grants WHERE workspace = $1 AND removed_ms IS NULL ORDER BY name
SELECT id FROM leases ORDER BY id DESC LIMIT 1
SELECT id FROM leases WHERE void_kind IS NOT NULL ORDER BY id
SELECT id FROM projects WHERE workspace = $1 ORDER BY key
SELECT id FROM request_rules WHERE account = $1 ORDER BY name
SELECT id FROM request_rules WHERE bucket = $1 ORDER BY name
SELECT id FROM request_rules WHERE caller = $1 ORDER BY name
SELECT id FROM request_rules WHERE member_of = $1 OR approvers = $1 ORDER BY name
SELECT id FROM shared_tables WHERE bucket = $1 ORDER BY folded
SELECT id FROM shared_tables WHERE share = $1 ORDER BY schema_folded, folded
SELECT id FROM shares WHERE account = $1
SELECT id FROM tokens WHERE account = $1
SELECT id FROM tokens WHERE caller = $1
SELECT id FROM tokens WHERE caller = $1 AND revoked_ms IS NULL AND (until_ms IS NULL OR until_ms > $2) ORDER BY id
SELECT id FROM tokens WHERE id = $1
SELECT id FROM tokens WHERE id > $1 AND id < $2 ORDER BY id LIMIT 1 OFFSET $3
SELECT id FROM trust_rules WHERE account = $1 ORDER BY name
SELECT id FROM trust_rules WHERE provider = $1 ORDER BY place, id
SELECT id FROM workspaces WHERE account = $1
SELECT id FROM workspaces WHERE bucket = $1 ORDER BY key
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE $1 IS NOT NULL AND id < $2 AND (made_ms >= $4 OR made_ms < $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE account = $1 AND id < $2 AND (made_ms >= $4 OR made_ms < $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE caller = $1 AND id < $2 AND (decision = 'approved' AND $4 IS NOT NULL) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE caller = $1 AND id < $2 AND (decision IS NULL AND made_ms <= $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE caller = $1 AND id < $2 AND (decision IS NULL AND made_ms > $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE caller = $1 AND id < $2 AND (made_ms >= $4 OR made_ms < $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE id = $1
SELECT id, account, caller, rule, storage, scope, secs, reason, made_ms, decision, decided_ms, decided_by, note, grant_id, token, (SELECT s.provider_name || ': ' || s.subject FROM identity_sessions s WHERE s.token = access_requests.token) FROM access_requests WHERE rule = $1 AND id < $2 AND (made_ms >= $4 OR made_ms < $4) ORDER BY id DESC LIMIT $3
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE $1 IS NULL AND $2 IS NULL AND $10 IS NULL AND id < $3 AND id >= $4 AND ($5 IS NULL OR (opened_ms <= $5 AND until_s * 1000 > $5 AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > $5))) AND ($7 IS NULL OR token = $7) AND ($8 IS NULL OR instr(grants, $8) > 0) AND ($9 IS NULL OR substr(scope, 4, length($9)) = $9 OR (substr(scope, 1, 1) = $11 AND substr(scope, 2) IN (SELECT digest FROM scopes WHERE substr(body, 4, length($9)) = $9))) ORDER BY id DESC LIMIT $6
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE $1 IS NULL AND id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE account = $1 AND $2 IS NULL AND $10 IS NULL AND id < $3 AND id >= $4 AND ($5 IS NULL OR (opened_ms <= $5 AND until_s * 1000 > $5 AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > $5))) AND ($7 IS NULL OR token = $7) AND ($8 IS NULL OR instr(grants, $8) > 0) AND ($9 IS NULL OR substr(scope, 4, length($9)) = $9 OR (substr(scope, 1, 1) = $11 AND substr(scope, 2) IN (SELECT digest FROM scopes WHERE substr(body, 4, length($9)) = $9))) ORDER BY id DESC LIMIT $6
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE account = $1 AND id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE asked_with = $10 AND ($1 IS NULL OR account = $1) AND ($2 IS NULL OR caller = $2) AND id < $3 AND id >= $4 AND ($5 IS NULL OR (opened_ms <= $5 AND until_s * 1000 > $5 AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > $5))) AND ($7 IS NULL OR token = $7) AND ($8 IS NULL OR instr(grants, $8) > 0) AND ($9 IS NULL OR substr(scope, 4, length($9)) = $9 OR (substr(scope, 1, 1) = $11 AND substr(scope, 2) IN (SELECT digest FROM scopes WHERE substr(body, 4, length($9)) = $9))) ORDER BY id DESC LIMIT $6
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE asked_with IN (SELECT id FROM tokens WHERE account = $1) AND leases.id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE asked_with IN (SELECT id FROM tokens WHERE caller = $1) AND leases.id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE asked_with IN (SELECT id FROM tokens WHERE id = $1) AND leases.id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE caller = $2 AND ($1 IS NULL OR account = $1) AND $10 IS NULL AND id < $3 AND id >= $4 AND ($5 IS NULL OR (opened_ms <= $5 AND until_s * 1000 > $5 AND void_kind IS NULL AND (revoked_ms IS NULL OR revoked_ms > $5))) AND ($7 IS NULL OR token = $7) AND ($8 IS NULL OR instr(grants, $8) > 0) AND ($9 IS NULL OR substr(scope, 4, length($9)) = $9 OR (substr(scope, 1, 1) = $11 AND substr(scope, 2) IN (SELECT digest FROM scopes WHERE substr(body, 4, length($9)) = $9))) ORDER BY id DESC LIMIT $6
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE id = $1
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE key_id = $1 ORDER BY issued.lease DESC LIMIT $2
SELECT id, account, caller, token, storage, scope, grants, dialect, credits, opened_ms, until_s, from_addr, asked_with, narrowed_from, void_kind, revoked_ms, revoked_by, key_id, request_id, ends_s FROM leases LEFT JOIN issued ON issued.lease = leases.id WHERE narrowed_from IS NOT NULL AND id >= $1 AND opened_ms <= $2 AND until_s * 1000 > $2 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, account, key, name, storage, bucket, root, is_default, made_ms, updated_ms FROM workspaces WHERE account = $1 ORDER BY key
SELECT id, account, made_ms, removed_ms FROM grants WHERE removed_ms IS NOT NULL AND id > $1 ORDER BY id LIMIT $2
SELECT id, account, name, comment, made_ms FROM shares ORDER BY folded
SELECT id, account, name, comment, made_ms FROM shares WHERE id IN (SELECT share FROM share_recipients WHERE account = $1)
SELECT id, account, name, provider, claims, version, made_ms FROM caller_groups WHERE removed_ms IS NULL AND ($1 IS NULL OR account = $1) ORDER BY name, id
SELECT id, account, name, role, standing FROM callers WHERE account = $1 AND name = $2
SELECT id, account, name, role, standing FROM callers WHERE account = $1 AND standing <> 2 ORDER BY name
SELECT id, account, name, role, standing FROM callers WHERE id = $1
SELECT id, account, name, role, standing FROM callers WHERE standing <> 2 AND account BETWEEN $1 AND $2 AND (account, name) > ($3, $4) ORDER BY account, name LIMIT $5
SELECT id, caller, digest, until_ms, revoked_ms, revoked_by FROM tokens
SELECT id, caller, digest, until_ms, revoked_ms, revoked_by FROM tokens WHERE id = $1
SELECT id, grants, until_s FROM leases WHERE account = $1 AND id >= $2 AND opened_ms <= $3 AND until_s * 1000 > $3 AND void_kind IS NULL AND revoked_ms IS NULL
SELECT id, name, account, caller, member_of, scope, most_secs, approvers, version, made_ms FROM request_rules ORDER BY name
SELECT id, name, account, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, share, workspace, member_of, conditions, request, template FROM grants WHERE account = $1 AND removed_ms IS NULL ORDER BY name
SELECT id, name, account, caller, storage, dataset, scope, max_lifetime_s, from_ms, until_ms, share, workspace, member_of, conditions, request, template FROM grants WHERE removed_ms IS NULL AND account BETWEEN $1 AND $2 AND (account, name) > ($3, $4) AND ($5 IS NULL OR name = $5) AND ($6 IS NULL OR caller = $6 OR (caller IS NULL AND member_of IS NULL AND account = (SELECT account FROM callers WHERE id = $6)) OR member_of IN (SELECT member_of FROM group_members WHERE caller = $6)) AND ($7 IS NULL OR substr(coalesce(template, scope), 4, length($7)) = $7) AND ($8 IS NULL OR made_ms >= $8) ORDER BY account, name LIMIT $9
SELECT id, name, kind, endpoint, internal_endpoint, region, min_lifetime_s, max_lifetime_s, settings, secrets, sharing, calls_per_sec, burst, revocation, version FROM storages WHERE removed_ms IS NULL ORDER BY name
SELECT id, name, preset, issuer, keys_kind, keys, audiences, parties, subject, algorithms, leeway_s, max_age_s, login_client, login_scopes, version, made_ms FROM identity_providers ORDER BY name
SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE id = $1
SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE id = $1 AND removed_ms IS NULL
SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE name = $1 AND removed_ms IS NULL
SELECT id, name, standing, vend_credits, datasets_bucket, max_bytes, max_objects FROM accounts WHERE removed_ms IS NULL ORDER BY name
SELECT id, name, topic, description, storage, bucket, path_kind, path, format, frequency, version, deprecated, newest, dictionary, sample FROM datasets ORDER BY name
SELECT id, provider, name, account, caller, role, claims, outlive_s FROM trust_rules ORDER BY place, id
SELECT id, scope, template FROM grants WHERE storage = $1 AND removed_ms IS NULL AND share IS NULL AND workspace IS NULL
SELECT id, share, schema_name, name, storage, bucket, root, auxiliary, access, history, format FROM shared_tables WHERE share = $1 ORDER BY schema_folded, folded
SELECT id, share, schema_name, name, storage, bucket, root, auxiliary, access, history, format FROM shared_tables WHERE share IN (SELECT share FROM share_recipients WHERE account = $1)
SELECT id, workspace, key, name, description, made_ms, updated_ms FROM projects WHERE workspace = $1 AND key = $2
SELECT id, workspace, key, name, description, made_ms, updated_ms FROM projects WHERE workspace = $1 ORDER BY key
SELECT keep_until_ms, by_caller FROM revocations WHERE kind = $1 AND target = $2 AND at_ms = $3
SELECT kid, algorithm, public, sealed, made_ms, signs_from_ms FROM signing_keys ORDER BY made_ms, kid
SELECT kind FROM storages WHERE id = $1
SELECT kind, id, owner, source, applied FROM managed
SELECT kind, target, at_ms, by_caller FROM revocations WHERE at_ms >= $1 ORDER BY at_ms
SELECT kind, target, at_ms, keep_until_ms FROM revocations WHERE (change > $1 OR $2 = 0) AND keep_until_ms > $3
SELECT kind, target, at_ms, keep_until_ms FROM revocations WHERE keep_until_ms > $1
SELECT kind, target, at_ms, keep_until_ms, by_caller FROM revocations
SELECT last_ms, seq, body FROM ledger_pages WHERE notes > 0 AND last_ms >= $1 AND (last_ms, seq) < ($2, $3) ORDER BY last_ms DESC, seq DESC LIMIT $4
SELECT m.member_of, m.caller FROM group_members m JOIN caller_groups g ON g.id = m.member_of WHERE g.removed_ms IS NULL AND ($1 IS NULL OR g.account = $1)
SELECT made_for FROM callers WHERE id = $1
SELECT max(last_ms) FROM unfolded_pages
SELECT max(longest_s) FROM storages
SELECT max(seq) FROM changes
SELECT max(seq) FROM ledger_pages
SELECT media_type, body FROM package_manifests WHERE account = $1 AND package = $2 AND digest = $3
SELECT min(at_ms) FROM revocations WHERE keep_until_ms > $1
SELECT minute_s - minute_s % 3600, kind, CAST(sum(count) AS BIGINT) FROM refusals WHERE minute_s >= $1 AND ($2 IS NULL OR account = $2) GROUP BY minute_s - minute_s % 3600, kind ORDER BY minute_s - minute_s % 3600, kind
SELECT name FROM accounts WHERE id = $1 AND removed_ms IS NULL
SELECT name FROM buckets WHERE storage = $1 ORDER BY name
SELECT name FROM datasets WHERE id = $1
SELECT name FROM identity_providers WHERE id = $1
SELECT name FROM request_rules WHERE id = $1
SELECT name FROM shares WHERE id = $1
SELECT name FROM storages WHERE id = $1
SELECT name FROM storages WHERE id = $1 AND removed_ms IS NULL
SELECT name, owns FROM policy_sets
SELECT name, storage FROM buckets ORDER BY name
SELECT opened_ms - opened_ms % 3600000 AS hour_ms, count(*) FROM leases WHERE $1 IS NULL AND id >= $2 AND void_kind IS NULL GROUP BY hour_ms ORDER BY hour_ms
SELECT opened_ms - opened_ms % 3600000 AS hour_ms, count(*) FROM leases WHERE account = $1 AND id >= $2 AND void_kind IS NULL GROUP BY hour_ms ORDER BY hour_ms
SELECT opened_ms FROM leases WHERE account = $1 AND opened_ms >= $2 AND opened_ms < $3 AND credits > 0 AND void_kind IS NULL ORDER BY opened_ms LIMIT 1
SELECT p.name || '/' || r.name FROM trust_rules r JOIN identity_providers p ON p.id = r.provider WHERE r.id = $1
SELECT pg_advisory_lock($1)
SELECT pg_advisory_unlock($1)
SELECT pg_advisory_xact_lock($1)
SELECT pg_notify($1, $2)
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = $1::bigint::oid AND objid = $2::bigint::oid AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tmpmtp9c7'
SELECT pg_try_advisory_lock($1)
SELECT pg_try_advisory_xact_lock($1)
SELECT provider, claims FROM identity_sessions WHERE token = $1 AND claims IS NOT NULL
SELECT provider_name, rule_name, subject, jti FROM identity_sessions WHERE token = $1
SELECT root FROM workspaces WHERE bucket = $1
SELECT s.name || ' for ' || a.name || coalesce('/' || c.name, '') FROM share_recipients r JOIN shares s ON s.id = r.share JOIN accounts a ON a.id = r.account LEFT JOIN callers c ON c.id = r.caller WHERE r.share = $1 AND r.account = $2 AND r.caller = $3
SELECT s.name || '.' || t.schema_name || '.' || t.name FROM shared_tables t JOIN shares s ON s.id = t.share WHERE t.id = $1
SELECT s.provider, s.claims FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE t.caller = $1 AND t.revoked_ms IS NULL AND t.until_ms > $2 AND s.claims IS NOT NULL ORDER BY t.made_ms DESC, t.id DESC LIMIT $3
SELECT sealed FROM parents WHERE token = $1
SELECT sealed, version, ends_ms FROM pooled_credentials WHERE key = $1
SELECT second_s FROM requests WHERE account = $1 AND second_s >= $2 AND second_s < $3 AND ($4 IS NULL OR token = $4) AND ($5 IS NULL OR origin = $5) ORDER BY second_s LIMIT 1
SELECT second_s FROM requests WHERE account = $1 AND second_s >= $2 AND second_s < $3 AND second_s % $4 <> 0 ORDER BY second_s LIMIT 1
SELECT seq FROM ledger_folded WHERE one = $1
SELECT seq, body FROM ledger_pages WHERE seq > $1 AND seq <= $2 ORDER BY seq
SELECT seq, first_ms, last_ms, issues, voids FROM unfolded_pages ORDER BY last_ms, seq
SELECT seq, hash FROM ledger_pages WHERE seq > $1 AND seq < $2 ORDER BY seq DESC LIMIT 1
SELECT seq, hash, last_ms, pages, leases, sealed FROM ledger_swept WHERE one = $1
SELECT seq, last_ms, opens, hash, body FROM ledger_pages WHERE seq > $1 AND seq < $2 AND seq <= $3 ORDER BY seq LIMIT 16
SELECT seq, node, touched FROM changes WHERE seq >= $1 ORDER BY seq
SELECT seq, opens, first_ms FROM ledger_pages WHERE seq > $1 AND seq < $2 ORDER BY seq LIMIT 256
SELECT seq, opens, voids, issues, notes, hash, body FROM ledger_pages WHERE seq >= $1 AND seq < $2 ORDER BY seq LIMIT $3
SELECT set_config('valetkey.change', $1, true)
SELECT share FROM share_recipients WHERE account = $1 AND length(caller) = 0
SELECT share FROM share_recipients WHERE caller = $1
SELECT share FROM shared_tables WHERE id = $1
SELECT share, account, caller, max_lifetime_s, until_ms, made_ms FROM share_recipients WHERE account = $1
SELECT share, account, caller, max_lifetime_s, until_ms, made_ms FROM share_recipients WHERE share = $1 ORDER BY made_ms, account, caller
SELECT storage FROM buckets WHERE name = $1
SELECT storage, bucket FROM datasets WHERE id = $1
SELECT storage, key_id, count(*), max(ends_s) FROM leases JOIN issued ON issued.lease = leases.id WHERE leases.id >= $1 AND revoked_ms >= $2 AND revoked_by = $3 AND ends_s * 1000 > revoked_ms GROUP BY storage, key_id ORDER BY storage, key_id
SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.provider = $1 AND $2 = '' AND t.revoked_ms IS NULL AND t.until_ms > $3
SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.provider = $1 AND s.jti = $2 AND t.revoked_ms IS NULL AND t.until_ms > $3
SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.provider = $1 AND s.rule = $2 AND t.revoked_ms IS NULL AND t.until_ms > $3
SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.provider = $1 AND s.subject = $2 AND t.revoked_ms IS NULL AND t.until_ms > $3
SELECT t.id FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.rule = $1 AND t.revoked_ms IS NULL AND t.until_ms > $2 ORDER BY t.id
SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by FROM callers c JOIN tokens t ON t.caller = c.id WHERE c.role = $1 ORDER BY t.id
SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by FROM tokens t JOIN callers c ON c.id = t.caller WHERE $1 IS NULL OR c.account = $1 ORDER BY t.id
SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by FROM tokens t JOIN callers c ON c.id = t.caller WHERE t.digest = $1
SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by FROM tokens t JOIN callers c ON c.id = t.caller WHERE t.id > $1 AND ($2 IS NULL OR c.account = $2) AND ($3 IS NULL OR c.id = $3) AND ($4 IS NULL OR t.made_ms >= $4) ORDER BY t.id LIMIT $5
SELECT t.id, t.caller, t.made_ms, t.revoked_ms, t.until_ms FROM tokens t WHERE t.id > $2 AND t.id <= $3 AND (t.revoked_ms < $1 OR t.until_ms < $1) AND NOT EXISTS (SELECT 1 FROM tokens made WHERE made.made_by = t.id) AND NOT EXISTS (SELECT 1 FROM share_links l WHERE l.made_by = t.id) AND NOT EXISTS (SELECT 1 FROM access_requests r WHERE r.caller = t.caller) AND NOT EXISTS (SELECT 1 FROM leases a WHERE a.asked_with = t.id) AND NOT EXISTS (SELECT 1 FROM identity_sessions s WHERE s.token = t.id AND (s.jwt_until_ms IS NULL OR s.jwt_until_ms >= $1)) AND NOT EXISTS (SELECT 1 FROM identity_sessions s WHERE s.token = t.id AND EXISTS (SELECT 1 FROM request_rules) AND NOT EXISTS (SELECT 1 FROM identity_sessions o JOIN tokens n ON n.id = o.token WHERE o.provider = s.provider AND o.subject = s.subject AND n.caller = t.caller AND n.id > t.id))
SELECT tag FROM package_tags WHERE account = $1 AND package = $2 ORDER BY tag
SELECT token FROM parents
SELECT token, sealed FROM parents
SELECT touched FROM changes
SELECT version FROM identity_providers WHERE id = $1
UPDATE access_requests SET decision = $1, decided_ms = $2, decided_by = $3, note = $4, grant_id = $5 WHERE id = $6 AND decision IS NULL
UPDATE access_requests SET decision = $1, decided_ms = $2, note = '' WHERE rule = $3 AND decision IS NULL
UPDATE accounts SET datasets_bucket = $1 WHERE id = $2
UPDATE accounts SET datasets_bucket = NULL WHERE datasets_bucket = $1
UPDATE accounts SET name = $1, standing = $2, vend_credits = $3, max_bytes = $4, max_objects = $5 WHERE id = $6 AND removed_ms IS NULL
UPDATE accounts SET removed_ms = $1, standing = 1, name = $2 WHERE id = $3
UPDATE accounts SET standing = $1, vend_credits = $2 WHERE id = $3 AND removed_ms IS NULL
UPDATE caller_groups SET name = $1, provider = $2, claims = $3, version = $4 WHERE id = $5 AND account = $6
UPDATE caller_groups SET provider = NULL, claims = '', version = version + 1 WHERE provider = $1
UPDATE caller_groups SET removed_ms = $1, name = $2, provider = NULL, claims = '' WHERE id = $3
UPDATE callers SET made_for = $1 WHERE id = $2
UPDATE callers SET name = $1, role = $2 WHERE id = $3
UPDATE callers SET standing = $1 WHERE id = $2 AND standing <> 2
UPDATE callers SET standing = 2, name = $1 WHERE id = $2
UPDATE credits SET granted = $1 WHERE account = $2
UPDATE credits SET used = CASE WHEN used + $1 < 0 THEN 0 ELSE used + $1 END WHERE account = $2 AND ($1 <= 0 OR used + $1 <= granted)
UPDATE datasets SET name = $1, topic = $2, description = $3, format = $4, frequency = $5, version = $6, deprecated = $7, newest = $8, dictionary = $9, sample = $10 WHERE id = $11
UPDATE grants SET dataset = NULL WHERE dataset = $1
UPDATE grants SET name = $1, scope = $2, template = $3, max_lifetime_s = $4, from_ms = $5, until_ms = $6, conditions = $7 WHERE id = $8 AND account = $9 AND storage = $10 AND removed_ms IS NULL
UPDATE grants SET removed_ms = $1, removed_by = $2 WHERE caller = $3 AND removed_ms IS NULL RETURNING id
UPDATE grants SET removed_ms = $1, removed_by = $2 WHERE id = $3 AND account = $4 AND removed_ms IS NULL
UPDATE identity_providers SET name = $1, preset = $2, issuer = $3, keys_kind = $4, keys = $5, audiences = $6, parties = $7, subject = $8, algorithms = $9, leeway_s = $10, max_age_s = $11, login_client = $12, login_scopes = $13, version = $14, made_ms = $15 WHERE id = $16
UPDATE identity_providers SET version = version + 1 WHERE id = (SELECT provider FROM trust_rules WHERE id = $1)
UPDATE identity_sessions SET claims = NULL WHERE claims IS NOT NULL AND token IN ( SELECT s.token FROM identity_sessions s JOIN tokens t ON t.id = s.token WHERE s.claims IS NOT NULL AND (t.until_ms < $1 OR t.revoked_ms < $1) LIMIT 256)
UPDATE identity_sessions SET lapsed = 1 WHERE rule = $1
UPDATE identity_sessions SET lapsed = 1 WHERE token = $1
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE account = $3 AND id >= $4 AND opened_ms <= $1 AND until_s * 1000 > $1 AND void_kind IS NULL AND revoked_ms IS NULL
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE caller = $3 AND id >= $4 AND opened_ms <= $1 AND until_s * 1000 > $1 AND void_kind IS NULL AND revoked_ms IS NULL
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE caller = (SELECT caller FROM tokens WHERE tokens.id = $3) AND token = $3 AND leases.id >= $4 AND opened_ms <= $1 AND until_s * 1000 > $1 AND void_kind IS NULL AND leases.revoked_ms IS NULL
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE id = $3 AND id >= $4 AND opened_ms <= $1 AND until_s * 1000 > $1 AND void_kind IS NULL AND revoked_ms IS NULL
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE id = $3 AND revoked_ms IS NULL
UPDATE leases SET revoked_ms = $1, revoked_by = $2 WHERE storage = $3 AND id >= $4 AND opened_ms <= $1 AND until_s * 1000 > $1 AND void_kind IS NULL AND revoked_ms IS NULL
UPDATE leases SET void_kind = $1 WHERE id = $2
UPDATE ledger_folded SET seq = $1 WHERE one = $2
UPDATE nodes SET head = 0 WHERE $1 > 0
UPDATE nodes SET holder = '\x01' WHERE chain = 2
UPDATE nodes SET name = $2, seen_ms = $3, head = CASE WHEN head > $4 THEN head ELSE $4 END, version = $7, embedded = $8 WHERE chain = $1 AND holder = $6 RETURNING CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), (SELECT coalesce(max(seq), 0) FROM changes), (SELECT count(*) + 1 FROM nodes WHERE chain <> $1 AND seen_ms > $5)
UPDATE pooled_credentials SET claimed_until_ms = $1 WHERE key = $2 AND claimant = $3
UPDATE request_rules SET name = $1, account = $2, caller = $3, member_of = $4, bucket = $5, scope = $6, most_secs = $7, approvers = $8, version = $9 WHERE id = $10
UPDATE share_links SET no_later_ms = $1, until_ms = CASE WHEN until_ms > $1 THEN $1 ELSE until_ms END WHERE made_by = $2 AND used_ms IS NULL AND outlives = 0 AND (no_later_ms IS NULL OR no_later_ms > $1)
UPDATE share_links SET used_ms = $1 WHERE digest = $2
UPDATE signing_keys SET sealed = $1 WHERE kid = $2
UPDATE storages SET name = $2, endpoint = $4, internal_endpoint = $5, region = $6, min_lifetime_s = $7, max_lifetime_s = $8, longest_s = CASE WHEN longest_s < $8 THEN $8 ELSE longest_s END, settings = $9, secrets = $10, sharing = $11, calls_per_sec = $12, burst = $13, revocation = $14, version = version + 1 WHERE id = $1 AND kind = $3 AND removed_ms IS NULL RETURNING version
UPDATE storages SET removed_ms = $1, name = $2, settings = NULL, secrets = NULL WHERE id = $3
UPDATE tokens SET revoked_ms = $1, revoked_by = $2 WHERE caller = $3 AND revoked_ms IS NULL RETURNING id
UPDATE tokens SET revoked_ms = $1, revoked_by = $2 WHERE id = $3 AND revoked_ms IS NULL
UPDATE tokens SET until_ms = $1 WHERE id = $2 AND (until_ms IS NULL OR until_ms > $1)
UPDATE tokens SET until_ms = $1, outlives = CASE WHEN $2 = 1 THEN 1 ELSE outlives END WHERE id = $3 AND revoked_ms IS NULL
UPDATE trial SET number = number + 1
UPDATE workspaces SET is_default = 0, updated_ms = $1 WHERE account = $2 AND is_default = 1
WITH RECURSIVE made (id) AS ( SELECT id FROM tokens WHERE made_by = $1 AND outlives = 0 UNION SELECT tokens.id FROM tokens JOIN made ON tokens.made_by = made.id WHERE tokens.outlives = 0 ) SELECT t.id FROM made JOIN tokens t ON t.id = made.id WHERE t.revoked_ms IS NULL AND (t.until_ms IS NULL OR t.until_ms > $2) ORDER BY t.id
WITH RECURSIVE made (id) AS ( SELECT id FROM tokens WHERE made_by = $1 UNION SELECT tokens.id FROM tokens JOIN made ON tokens.made_by = made.id ) SELECT t.id, c.id, c.name, c.account, c.role, c.standing, t.tail, t.made_ms, t.until_ms, t.revoked_ms, t.made_by FROM made JOIN tokens t ON t.id = made.id JOIN callers c ON c.id = t.caller ORDER BY t.id
WITH RECURSIVE up (id) AS ( SELECT made_by FROM tokens WHERE id = $1 AND made_by IS NOT NULL UNION SELECT tokens.made_by FROM tokens JOIN up ON tokens.id = up.id WHERE tokens.made_by IS NOT NULL ) SELECT count(*) FROM up JOIN tokens t ON t.id = up.id WHERE t.caller = $2
