-- How much an account may keep, where that is said for it alone: 0 is any, nothing what the server's settings say.
ALTER TABLE accounts ADD COLUMN max_bytes INTEGER;
ALTER TABLE accounts ADD COLUMN max_objects INTEGER;
