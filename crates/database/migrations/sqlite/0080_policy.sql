-- What files own: their sets, and whose each thing is.
CREATE TABLE policy_sets (
    name TEXT NOT NULL PRIMARY KEY,
    owns TEXT NOT NULL,
    about TEXT NOT NULL,                            -- where the files are from, and their digest
    applied_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE managed (
    kind TEXT NOT NULL,                             -- account, caller, grant, dataset
    id BLOB NOT NULL,
    owner TEXT NOT NULL,
    source TEXT NOT NULL,                           -- file:line
    applied TEXT NOT NULL,                          -- what the files said of it
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX managed_by_owner ON managed (owner);
