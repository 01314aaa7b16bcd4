-- What identity tokens claim is forgotten once their sessions are over: those that still have it are found without reading all.
CREATE INDEX identity_sessions_with_claims ON identity_sessions (token) WHERE claims IS NOT NULL;
