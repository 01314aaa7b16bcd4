-- A grant is made for one thing at most. One that a dataset was given with is the dataset's, also where its name and the millisecond it was
-- made in (0043) look like a workspace's.
UPDATE grants SET workspace = NULL WHERE dataset IS NOT NULL AND workspace IS NOT NULL;
