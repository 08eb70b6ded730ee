"""The tables, reads and migrations as SQLModel and Alembic say them: `make sql` compiles them, no ledger loads them."""
