-- Running upgrade 0001 -> 0002

DROP INDEX usage_key;

CREATE INDEX usage_key ON usage ((seq / 8192), key_id, slot, seq);

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';
