"""Alembic's way in: runs the steps on the connection that `madang.store.migrate` hands over."""

from __future__ import annotations

from alembic import context

from madang.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite cannot alter most of a table: Alembic copies it instead.
    render_as_batch=True,
)

with context.begin_transaction():
    context.run_migrations()
