-- Running upgrade 0011 -> 0012

ALTER TABLE key_secrets ADD COLUMN pepper VARCHAR DEFAULT '' NOT NULL;

ALTER TABLE ledgers ADD COLUMN peppers VARCHAR DEFAULT '' NOT NULL;

UPDATE alembic_version SET version_num='0012' WHERE alembic_version.version_num = '0011';
