-- Running upgrade 0013 -> 0014

CREATE TABLE events (
    seq BIGSERIAL NOT NULL,
    id VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    object VARCHAR NOT NULL,
    body VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    endpoint VARCHAR NOT NULL,
    again BOOLEAN NOT NULL,
    published BOOLEAN NOT NULL,
    PRIMARY KEY (seq)
);

CREATE UNIQUE INDEX events_once ON events (id) WHERE endpoint = '';

CREATE INDEX events_waiting ON events (seq) WHERE NOT published;

CREATE INDEX events_object ON events (object, type, created_ms);

CREATE INDEX events_created ON events (created_ms);

CREATE TABLE webhook_endpoints (
    id VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    events VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    secrets VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    failing_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE deliveries (
    id VARCHAR NOT NULL,
    endpoint VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    type VARCHAR NOT NULL,
    attempt BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    code BIGINT NOT NULL,
    ms BIGINT NOT NULL,
    response VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    next_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX deliveries_endpoint ON deliveries (endpoint, id);

CREATE INDEX deliveries_event ON deliveries (event, id);

CREATE TABLE told (
    id VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

ALTER TABLE cap_periods ADD COLUMN alert_nano BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE cap_periods ADD COLUMN reached BOOLEAN DEFAULT false NOT NULL;

UPDATE cap_periods SET alert_nano = (SELECT c.limit_nano - c.limit_nano / 100 * (100 - c.alert_percent) FROM caps AS c WHERE c.id = cap_periods.cap_id) WHERE EXISTS (SELECT 1 FROM caps AS c WHERE c.id = cap_periods.cap_id AND c.ended_ms = 0);

CREATE INDEX api_keys_expires ON api_keys (expires_ms) WHERE expires_ms > 0;

UPDATE alembic_version SET version_num='0014' WHERE alembic_version.version_num = '0013';
