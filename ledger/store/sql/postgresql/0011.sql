-- Running upgrade 0010 -> 0011

CREATE TABLE configurations (
    id VARCHAR NOT NULL,
    number BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    body VARCHAR NOT NULL,
    taken_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

UPDATE alembic_version SET version_num='0011' WHERE alembic_version.version_num = '0010';
