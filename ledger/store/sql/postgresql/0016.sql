-- Running upgrade 0015 -> 0016

ALTER TABLE operators ADD COLUMN issuer VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE operators ADD COLUMN subject VARCHAR DEFAULT '' NOT NULL;

CREATE UNIQUE INDEX operators_subject ON operators (issuer, subject) WHERE subject <> '';

CREATE TABLE sign_in_nonces (
    id VARCHAR NOT NULL,
    ends_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX sign_in_nonces_ends ON sign_in_nonces (ends_ms);

UPDATE alembic_version SET version_num='0016' WHERE alembic_version.version_num = '0015';
