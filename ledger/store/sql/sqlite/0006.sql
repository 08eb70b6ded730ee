-- Running upgrade 0005 -> 0006

CREATE TABLE ledgers (
    id VARCHAR NOT NULL,
    revision BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

ALTER TABLE stream_positions ADD COLUMN turn BIGINT DEFAULT 0 NOT NULL;

CREATE INDEX api_keys_name ON api_keys (name, id);

CREATE TRIGGER ledgers_note AFTER UPDATE OF applied_seq ON stream_positions WHEN NEW.turn = OLD.turn
BEGIN
    INSERT INTO ledgers (id, revision, seen_ms)
    VALUES ('unknown', 0, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
    ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms;
END;

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';
