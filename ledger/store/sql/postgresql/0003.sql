-- Running upgrade 0002 -> 0003

ALTER TABLE usage ADD COLUMN cached_audio BIGINT DEFAULT '0' NOT NULL;

ALTER TABLE holds ADD COLUMN uplifts VARCHAR DEFAULT '[]' NOT NULL;

CREATE TABLE surprises (
    pool VARCHAR NOT NULL,
    account VARCHAR NOT NULL,
    upstream VARCHAR NOT NULL,
    uplift VARCHAR NOT NULL,
    request_id VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (pool, account, upstream, uplift)
);

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';
