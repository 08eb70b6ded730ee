-- Running upgrade 0003 -> 0004

CREATE TABLE candidates (
    request_id VARCHAR NOT NULL,
    place BIGINT NOT NULL,
    model VARCHAR NOT NULL,
    pool VARCHAR NOT NULL,
    provider VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL,
    price_ref VARCHAR NOT NULL,
    rate VARCHAR NOT NULL,
    list_nano BIGINT NOT NULL,
    token_limit BIGINT NOT NULL,
    limited BOOLEAN NOT NULL,
    prompt_max BIGINT NOT NULL,
    uplifts VARCHAR NOT NULL,
    PRIMARY KEY (request_id, place),
    CONSTRAINT candidates_place CHECK (place > 0)
);

ALTER TABLE holds ADD COLUMN asked VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE holds ADD COLUMN candidate BIGINT DEFAULT 0 NOT NULL;

UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';
