-- Running upgrade 0008 -> 0010

CREATE TABLE peppers (
    id VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    PRIMARY KEY (id)
);

UPDATE alembic_version SET version_num='0010' WHERE alembic_version.version_num = '0008';
