"""Run by Alembic: the migrations, in the transaction that the registry has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
