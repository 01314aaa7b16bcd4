-- The leases that a lease was narrowed from, the first one first: it ends with any of them.
ALTER TABLE leases ADD COLUMN narrowed_from BLOB;
CREATE INDEX leases_narrowed ON leases (id) WHERE narrowed_from IS NOT NULL;
