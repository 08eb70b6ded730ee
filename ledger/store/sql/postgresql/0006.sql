-- Running upgrade 0005 -> 0006

CREATE TABLE ledgers (
    id VARCHAR NOT NULL,
    revision BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
);

ALTER TABLE stream_positions ADD COLUMN turn BIGINT DEFAULT 0 NOT NULL;

CREATE INDEX api_keys_name ON api_keys (name, id);

CREATE FUNCTION ledgers_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ledgers (id, revision, seen_ms)
    VALUES ('unknown', 0, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS bigint))
    ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms;
    RETURN NULL;
END $$;

CREATE TRIGGER ledgers_note AFTER UPDATE OF applied_seq ON stream_positions
FOR EACH ROW WHEN (NEW.turn = OLD.turn) EXECUTE FUNCTION ledgers_note();

CREATE FUNCTION ledgers_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF COALESCE(current_setting('tokn.revision', true), '') = ''
        AND EXISTS (SELECT 1 FROM ledgers WHERE id = 'least') THEN
        RAISE EXCEPTION 'these books have what only a newer ledger knows: upgrade this one';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER ledgers_refuse BEFORE INSERT OR UPDATE ON accounts
FOR EACH STATEMENT EXECUTE FUNCTION ledgers_refuse();

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';
