-- Running upgrade 0016 -> 0017

CREATE TABLE topups (
    id VARCHAR NOT NULL,
    organization VARCHAR NOT NULL,
    amount_nano BIGINT NOT NULL,
    currency VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    session VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    live BOOLEAN NOT NULL,
    payment VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    refunded_cents BIGINT NOT NULL,
    given_nano BIGINT NOT NULL,
    returned_nano BIGINT NOT NULL,
    returned_debt_nano BIGINT NOT NULL,
    disputed_nano BIGINT NOT NULL,
    disputed_debt_nano BIGINT NOT NULL,
    moves BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT topups_taken CHECK (returned_nano >= 0 AND disputed_nano >= 0 AND returned_nano + disputed_nano <= given_nano)
);

CREATE UNIQUE INDEX topups_session ON topups (session) WHERE session <> '';

CREATE UNIQUE INDEX topups_payment ON topups (payment) WHERE payment <> '';

CREATE INDEX topups_organization ON topups (organization, created_ms, id);

CREATE INDEX topups_created ON topups (created_ms, id);

CREATE TABLE topup_claims (
    id VARCHAR NOT NULL,
    topup VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    cents BIGINT NOT NULL,
    status VARCHAR NOT NULL,
    told_s BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX topup_claims_topup ON topup_claims (topup);

UPDATE alembic_version SET version_num='0017' WHERE alembic_version.version_num = '0016';
