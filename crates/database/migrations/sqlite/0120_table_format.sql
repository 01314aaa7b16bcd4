-- What kind of table a shared one is: delta or iceberg; null where it is not known, or both.
ALTER TABLE shared_tables ADD COLUMN format TEXT;
