-- Running upgrade 0006 -> 0007

ALTER TABLE accounts ADD COLUMN lots_nano BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE usage ADD COLUMN refunded_nano BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE usage ADD COLUMN lots_nano BIGINT DEFAULT 0 NOT NULL;

CREATE TABLE credits (
    id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    amount_nano BIGINT NOT NULL,
    transfer VARCHAR NOT NULL,
    number BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    reference VARCHAR NOT NULL,
    call VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    expires_ms BIGINT NOT NULL,
    lot_nano BIGINT NOT NULL,
    remaining_nano BIGINT NOT NULL,
    gone_nano BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT credits_lot CHECK (remaining_nano >= 0 AND gone_nano >= 0 AND remaining_nano + gone_nano <= lot_nano)
);

CREATE UNIQUE INDEX credits_reference ON credits (kind, reference) WHERE reference <> '';

CREATE INDEX credits_account ON credits (account_id, created_ms, id);

CREATE INDEX credits_call ON credits (call) WHERE call <> '';

CREATE INDEX credits_ending ON credits (expires_ms) WHERE expires_ms > 0;

CREATE INDEX credits_expiring ON credits (expires_ms) WHERE remaining_nano > 0 AND expires_ms > 0;

CREATE TABLE audit_entries (
    number BIGINT NOT NULL,
    id VARCHAR NOT NULL,
    created_ms BIGINT NOT NULL,
    action VARCHAR NOT NULL,
    target VARCHAR NOT NULL,
    actor VARCHAR NOT NULL,
    credential VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    idempotency_key VARCHAR NOT NULL,
    form_hash VARCHAR NOT NULL,
    before VARCHAR NOT NULL,
    after VARCHAR NOT NULL,
    answer VARCHAR NOT NULL,
    previous VARCHAR NOT NULL,
    hash VARCHAR NOT NULL,
    PRIMARY KEY (number)
);

CREATE UNIQUE INDEX audit_entries_key ON audit_entries (credential, idempotency_key) WHERE idempotency_key <> '';

CREATE TABLE audit_head (
    id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    hash VARCHAR NOT NULL,
    PRIMARY KEY (id)
);

INSERT INTO audit_head (id, number, hash) VALUES (1, 0, '');

CREATE FUNCTION audit_entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is only ever added to';
END
$$;
CREATE TRIGGER audit_entries_rows BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_entries_stay();
CREATE TRIGGER audit_entries_table BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_stay();

UPDATE alembic_version SET version_num='0007' WHERE alembic_version.version_num = '0006';
