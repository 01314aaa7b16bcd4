-- Whatever holds a statement of before back: columns, and rules that a row has to obey.
SELECT format('%s.%s %s%s%s', c.table_name, c.column_name, c.data_type,
    CASE c.is_nullable WHEN 'NO' THEN ' needed' ELSE '' END, CASE WHEN c.column_default IS NOT NULL THEN ' or usual' ELSE '' END)
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.table_name <> '_sqlx_migrations'
UNION ALL SELECT format('%s: %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'u', 'f', 'x', 'p') AND conrelid::regclass::text <> '_sqlx_migrations'
UNION ALL SELECT format('%s: %s', indrelid::regclass, regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', 'UNIQUE '))
    FROM pg_index i JOIN pg_class k ON k.oid = i.indexrelid
    WHERE i.indisunique AND NOT i.indisprimary AND k.relnamespace = 'public'::regnamespace
ORDER BY 1
