-- Running upgrade 0017 -> 0018

CREATE INDEX usage_days_day ON usage_days (day, key_id);

CREATE INDEX credits_kind ON credits (kind, created_ms, id);

CREATE INDEX caps_created ON caps (created_ms, id);

UPDATE alembic_version SET version_num='0018' WHERE alembic_version.version_num = '0017';
