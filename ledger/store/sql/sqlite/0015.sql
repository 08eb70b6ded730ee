-- Running upgrade 0014 -> 0015

CREATE TABLE management_keys (
    id VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    hint VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    scopes VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    revoked_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX management_keys_digest ON management_keys (digest);

CREATE TABLE operators (
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    email VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    removed_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE sessions (
    id VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    operator VARCHAR NOT NULL,
    ip VARCHAR NOT NULL,
    user_agent VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX sessions_digest ON sessions (digest);

CREATE INDEX sessions_operator ON sessions (operator);

CREATE TABLE sign_in_tokens (
    id VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    operator VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE UNIQUE INDEX sign_in_tokens_digest ON sign_in_tokens (digest);

CREATE INDEX sign_in_tokens_operator ON sign_in_tokens (operator);

ALTER TABLE audit_entries ADD COLUMN ip VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE audit_entries ADD COLUMN user_agent VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE audit_entries ADD COLUMN request_id VARCHAR DEFAULT '' NOT NULL;

CREATE INDEX audit_entries_id ON audit_entries (id);

CREATE INDEX audit_entries_actor ON audit_entries (actor, number);

CREATE INDEX audit_entries_action ON audit_entries (action, number);

CREATE INDEX audit_entries_target ON audit_entries (target, number);

CREATE INDEX credits_created ON credits (created_ms, id);

CREATE INDEX api_keys_owner ON api_keys (profile, created_ms, id);

UPDATE alembic_version SET version_num='0015' WHERE alembic_version.version_num = '0014';
