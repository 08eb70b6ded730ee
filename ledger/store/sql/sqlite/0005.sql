-- Running upgrade 0004 -> 0005

ALTER TABLE accounts ADD COLUMN spent_nano BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE accounts ADD COLUMN low_nano BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE accounts ADD COLUMN limited BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE profiles ADD COLUMN name VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE profiles ADD COLUMN email VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE profiles ADD COLUMN status VARCHAR DEFAULT 'active' NOT NULL;

ALTER TABLE profiles ADD COLUMN timezone VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE api_keys ADD COLUMN expires_ms BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE api_keys ADD COLUMN models VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE profiles ADD COLUMN rpm BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE profiles ADD COLUMN tpm BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE profiles ADD COLUMN in_flight BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE profiles ADD COLUMN labels VARCHAR DEFAULT '{}' NOT NULL;

ALTER TABLE profiles ADD COLUMN version BIGINT DEFAULT 1 NOT NULL;

ALTER TABLE api_keys ADD COLUMN rpm BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE api_keys ADD COLUMN tpm BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE api_keys ADD COLUMN in_flight BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE api_keys ADD COLUMN labels VARCHAR DEFAULT '{}' NOT NULL;

ALTER TABLE api_keys ADD COLUMN version BIGINT DEFAULT 1 NOT NULL;

ALTER TABLE holds ADD COLUMN limits VARCHAR DEFAULT '' NOT NULL;

CREATE INDEX api_keys_profile ON api_keys (profile, id);

CREATE INDEX api_keys_account ON api_keys (account_id);

CREATE TABLE key_secrets (
    digest VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    key_id VARCHAR NOT NULL,
    hint VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (digest),
    UNIQUE (id)
)
 WITHOUT ROWID;

CREATE INDEX key_secrets_key ON key_secrets (key_id);

CREATE TABLE caps (
    id VARCHAR NOT NULL,
    scope VARCHAR NOT NULL,
    period VARCHAR NOT NULL,
    zone VARCHAR NOT NULL,
    limit_nano BIGINT NOT NULL,
    alert_percent BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT caps_limit CHECK (limit_nano >= 0)
)
 WITHOUT ROWID;

CREATE INDEX caps_scope ON caps (scope);

CREATE TABLE cap_periods (
    id VARCHAR NOT NULL,
    cap_id VARCHAR NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    spent_nano BIGINT NOT NULL,
    held_nano BIGINT NOT NULL,
    base_nano BIGINT NOT NULL,
    ceiling_nano BIGINT NOT NULL,
    alerted BOOLEAN NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT cap_periods_positive CHECK (spent_nano >= 0 AND held_nano >= 0),
    CONSTRAINT cap_periods_covered CHECK (spent_nano + held_nano <= ceiling_nano)
)
 WITHOUT ROWID;

CREATE INDEX cap_periods_cap ON cap_periods (cap_id, start_ms);

CREATE TABLE rates (
    scope VARCHAR NOT NULL,
    in_flight BIGINT NOT NULL,
    typical_output_milli BIGINT NOT NULL,
    base_s BIGINT NOT NULL,
    requests BLOB NOT NULL,
    tokens BLOB NOT NULL,
    PRIMARY KEY (scope)
);

INSERT INTO key_secrets (digest, id, key_id, hint, created_ms, expires_ms)
    SELECT digest, 'sec_' || substr(digest, 1, 16), id, '', created_ms, 0 FROM api_keys;

UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';
