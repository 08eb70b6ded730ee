CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE accounts (
    id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    posted_nano BIGINT NOT NULL,
    held_nano BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT accounts_held CHECK (held_nano >= 0),
    CONSTRAINT accounts_covered CHECK (kind NOT IN ('metered', 'playground') OR posted_nano >= held_nano)
);

CREATE TABLE transfers (
    request_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    line BIGINT NOT NULL,
    debit VARCHAR NOT NULL,
    credit VARCHAR NOT NULL,
    amount_nano BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (request_id, kind, attempt, line),
    CONSTRAINT transfers_amount CHECK (amount_nano > 0),
    CONSTRAINT transfers_sides CHECK (debit <> credit)
);

CREATE TABLE profiles (
    id VARCHAR NOT NULL,
    playground_credits_usd NUMERIC(20, 9) NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE api_keys (
    id VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    profile VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    providers VARCHAR NOT NULL,
    playground BOOLEAN NOT NULL,
    status VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    revoked_ms BIGINT NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(account_id) REFERENCES accounts (id),
    FOREIGN KEY(profile) REFERENCES profiles (id),
    UNIQUE (digest)
);

CREATE INDEX api_keys_created ON api_keys (created_ms, id);

CREATE TABLE holds (
    request_id VARCHAR NOT NULL,
    token VARCHAR NOT NULL,
    key_id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL,
    price_ref VARCHAR NOT NULL,
    rate VARCHAR NOT NULL,
    amount_nano BIGINT NOT NULL,
    list_nano BIGINT NOT NULL,
    held_nano BIGINT NOT NULL,
    token_limit BIGINT NOT NULL,
    limited BOOLEAN NOT NULL,
    prompt_max BIGINT NOT NULL,
    choices BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    state VARCHAR NOT NULL,
    lease_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    closed_ms BIGINT NOT NULL,
    PRIMARY KEY (request_id),
    CONSTRAINT holds_held CHECK (held_nano >= 0 AND held_nano <= amount_nano),
    CONSTRAINT holds_ended CHECK (held_nano = 0 OR state IN ('open', 'estimated'))
);

CREATE INDEX holds_lease ON holds (lease_ms) WHERE state IN ('open', 'estimated');

CREATE TABLE usage (
    seq BIGSERIAL NOT NULL,
    request_id VARCHAR NOT NULL,
    slot BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    key_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    known VARCHAR NOT NULL,
    bill_final BOOLEAN NOT NULL,
    cost_final BOOLEAN NOT NULL,
    input BIGINT NOT NULL,
    cached BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_1h BIGINT NOT NULL,
    input_audio BIGINT NOT NULL,
    output BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    output_audio BIGINT NOT NULL,
    uplifts VARCHAR NOT NULL,
    list_nano BIGINT NOT NULL,
    billed_nano BIGINT NOT NULL,
    uncollected_nano BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    tries VARCHAR NOT NULL,
    queued_ms BIGINT NOT NULL,
    first_byte_ms BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (seq),
    CONSTRAINT usage_billed CHECK (billed_nano >= 0),
    CONSTRAINT usage_once UNIQUE (request_id, slot)
);

CREATE INDEX usage_key ON usage (key_id, seq);

CREATE TABLE models (
    id VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL,
    context BIGINT NOT NULL,
    max_output BIGINT NOT NULL,
    rate VARCHAR NOT NULL,
    body VARCHAR NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE prices (
    ref VARCHAR NOT NULL,
    body VARCHAR NOT NULL,
    PRIMARY KEY (ref)
);

CREATE TABLE upstream_accounts (
    pool VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    limited BOOLEAN NOT NULL,
    opening_nano BIGINT,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (pool, id)
);

CREATE TABLE stream_positions (
    identity VARCHAR NOT NULL,
    applied_seq BIGINT NOT NULL,
    current BOOLEAN NOT NULL,
    opened_ms BIGINT NOT NULL,
    detail VARCHAR NOT NULL,
    PRIMARY KEY (identity)
);

CREATE TABLE stream_ranges (
    identity VARCHAR NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    PRIMARY KEY (identity, first_seq)
);

CREATE TABLE parked_events (
    request_id VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    payload BYTEA NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (request_id, attempt)
);

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;
