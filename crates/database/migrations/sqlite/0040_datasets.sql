-- Which file of a dataset is the newest ('time', 'key'), and the objects of its bucket that explain and show it.
ALTER TABLE datasets ADD COLUMN newest TEXT NOT NULL DEFAULT 'time';
ALTER TABLE datasets ADD COLUMN dictionary BLOB;
ALTER TABLE datasets ADD COLUMN sample BLOB;

-- The bucket whose datasets an account's callers get when they name none and there are several.
ALTER TABLE accounts ADD COLUMN datasets_bucket TEXT;
