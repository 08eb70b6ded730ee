-- Running upgrade 0012 -> 0013

CREATE TABLE statements (
    id VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    period VARCHAR NOT NULL,
    timezone VARCHAR NOT NULL,
    start_ms BIGINT NOT NULL,
    end_ms BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    number VARCHAR NOT NULL,
    problem VARCHAR NOT NULL,
    opening_nano BIGINT NOT NULL,
    closing_nano BIGINT NOT NULL,
    seller VARCHAR NOT NULL,
    buyer VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT statements_once UNIQUE (organization, period)
);

CREATE UNIQUE INDEX statements_number ON statements (number) WHERE number <> '';

CREATE TABLE statement_lines (
    statement VARCHAR NOT NULL,
    place BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    key_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    calls BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    list_nano BIGINT NOT NULL,
    amount_nano BIGINT NOT NULL,
    PRIMARY KEY (statement, place)
);

UPDATE alembic_version SET version_num='0013' WHERE alembic_version.version_num = '0012';
