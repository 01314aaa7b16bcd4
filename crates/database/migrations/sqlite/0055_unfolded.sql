-- The pages that are not in the index yet.
CREATE VIEW unfolded_pages AS SELECT * FROM ledger_pages WHERE seq > (SELECT seq FROM ledger_folded WHERE one = 1);
