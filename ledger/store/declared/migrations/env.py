"""Owns how Alembic renders a migration as SQL: the ledger runs it on its own driver, under its own lock."""

from alembic import context

context.configure(
    dialect_name=context.config.attributes["dialect"],
    literal_binds=True,
    transactional_ddl=False,  # whoever runs the SQL opens the transaction
)
context.run_migrations()
