-- The token that a lease was asked for with, where it is another than the lease's own: the lease ends with it, too.
ALTER TABLE leases ADD COLUMN asked_with BLOB;
CREATE INDEX leases_by_asked_with ON leases (asked_with, id) WHERE asked_with IS NOT NULL;
