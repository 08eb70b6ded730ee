-- Running upgrade 0007 -> 0008

CREATE TABLE usage_hours (
    hour BIGINT NOT NULL,
    key_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    input_audio_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    output_audio_tokens BIGINT NOT NULL,
    cached_audio_tokens BIGINT NOT NULL,
    list_nano BIGINT NOT NULL,
    billed_nano BIGINT NOT NULL,
    refunded_nano BIGINT NOT NULL,
    uncollected_nano BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    PRIMARY KEY (hour, key_id, model, pool, provider, organization)
)
 WITHOUT ROWID;

CREATE TABLE usage_days (
    key_id VARCHAR NOT NULL,
    day BIGINT NOT NULL,
    model VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    input_audio_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    output_audio_tokens BIGINT NOT NULL,
    cached_audio_tokens BIGINT NOT NULL,
    list_nano BIGINT NOT NULL,
    billed_nano BIGINT NOT NULL,
    refunded_nano BIGINT NOT NULL,
    uncollected_nano BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    PRIMARY KEY (key_id, day, model, provider, organization)
)
 WITHOUT ROWID;

CREATE TABLE usage_totals (
    hour BIGINT NOT NULL,
    organization VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    cache_write_tokens BIGINT NOT NULL,
    cache_write_1h_tokens BIGINT NOT NULL,
    input_audio_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    output_audio_tokens BIGINT NOT NULL,
    cached_audio_tokens BIGINT NOT NULL,
    list_nano BIGINT NOT NULL,
    billed_nano BIGINT NOT NULL,
    refunded_nano BIGINT NOT NULL,
    uncollected_nano BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    PRIMARY KEY (hour, organization, model, pool, provider)
)
 WITHOUT ROWID;

CREATE TABLE rollups (
    id VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (id)
);

INSERT INTO rollups (id, seq) VALUES ('usage', 0);

UPDATE alembic_version SET version_num='0008' WHERE alembic_version.version_num = '0007';
