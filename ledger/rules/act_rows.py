"""Owns the rows that acts make: credits with their lots, and the audit log."""

from typing import ClassVar

from ledger.rules.rows import Row


class Credit(Row, kw_only=True):
    """What an act added to an account, or took: as the balance sees it. Its transfer has the same kind.

    `transfer` and `number` are its transfer's request id and attempt. A part that can expire, or that is ours to give,
    is a lot: of `lot_nano`, `remaining_nano` is there, `gone_nano` has left otherwise than by charges, and charges
    took the rest. What charges took since the last act on its account is still in `remaining_nano`. `expires_ms` is 0
    for never; `call` is the request id of a refunded call.
    """

    TABLE: ClassVar[str] = "credits"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("remaining_nano", "gone_nano")

    id: str
    kind: str
    account_id: str
    amount_nano: int
    transfer: str
    number: int = 0
    reason: str = ""
    reference: str = ""
    call: str = ""
    actor: str = ""
    expires_ms: int = 0
    lot_nano: int = 0
    remaining_nano: int = 0
    gone_nano: int = 0
    created_ms: int

    @property
    def spent_nano(self) -> int:
        """What charges took of a lot."""
        return self.lot_nano - self.remaining_nano - self.gone_nano


class Entry(Row, kw_only=True):
    """One act in the audit log, which is also what makes it happen once. Never changed.

    `before` and `after` are JSON: of each row that the act changed, the fields that differ. `answer` is the JSON of its
    answer, which has no secret. `hash` chains it to the entry before. The address, program and request id of whoever
    asked are those that a console told.
    """

    TABLE: ClassVar[str] = "audit_entries"
    KEY: ClassVar[tuple[str, ...]] = ("number",)
    SORTED: ClassVar[bool] = False

    number: int
    id: str
    created_ms: int
    action: str
    target: str
    actor: str
    credential: str
    reason: str
    idempotency_key: str
    form_hash: str
    before: str
    after: str
    answer: str
    previous: str
    hash: str
    ip: str = ""
    user_agent: str = ""
    request_id: str = ""


class Head(Row, kw_only=True):
    """The last entry of the audit log: its number and hash. One row, which every act locks."""

    TABLE: ClassVar[str] = "audit_head"
    KEY: ClassVar[tuple[str, ...]] = ("id",)
    CHANGES: ClassVar[tuple[str, ...] | None] = ("number", "hash")

    id: int
    number: int
    hash: str
