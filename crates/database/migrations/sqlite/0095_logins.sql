-- As what people log in at an identity provider: a public client's id, and the scopes it asks for, as lines.
ALTER TABLE identity_providers ADD COLUMN login_client TEXT;
ALTER TABLE identity_providers ADD COLUMN login_scopes TEXT NOT NULL DEFAULT '';
