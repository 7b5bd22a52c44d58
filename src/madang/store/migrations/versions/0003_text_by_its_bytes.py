"""On PostgreSQL, text is compared by its bytes, whatever language the database was made for: ids
and names sort as they do everywhere else, and indexes are quicker."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXTS = text(
    "SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod) "
    "FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid "
    "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' "
    "AND a.attnum > 0 AND a.attcollation <> 0 AND NOT a.attisdropped "
    "AND c.relname <> 'alembic_version' ORDER BY c.relname, a.attnum"
)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    changes: dict[str, list[str]] = {}
    for table, column, type_ in connection.execute(_TEXTS):
        changes.setdefault(table, []).append(f'ALTER COLUMN {column} TYPE {type_} COLLATE "C"')
    for table, columns in changes.items():
        op.execute(f"ALTER TABLE {table} {', '.join(columns)}")
