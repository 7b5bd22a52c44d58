"""The index of what was said, for search."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ORG = "(SELECT current_setting('madang.org', true))"
_USER = "(SELECT coalesce(current_setting('madang.user', true), ''))"
_TABLES = ("search_indexes", "search_blocks", "search_postings", "search_entries")


def _text(kind: sa.String) -> sa.String:
    """Text that sorts by its bytes on PostgreSQL too."""
    by_bytes = sa.Text(collation="C") if isinstance(kind, sa.Text) else sa.String(kind.length, "C")
    return kind.with_variant(by_bytes, "postgresql")


def upgrade() -> None:
    op.create_table(
        "search_indexes",
        sa.Column("org_id", _text(sa.String(100)), nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", _text(sa.String(16)), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "generation", name="pk_search_indexes"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "search_blocks",
        sa.Column("org_id", _text(sa.String(100)), nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "generation", "block", name="pk_search_blocks"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "search_postings",
        sa.Column("org_id", _text(sa.String(100)), nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("term", _text(sa.Text()), nullable=False),
        sa.Column("documents", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "generation", "block", "term", name="pk_search_postings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "search_entries",
        sa.Column("org_id", _text(sa.String(100)), nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", _text(sa.String(36)), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "generation", "number", name="pk_search_entries"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_search_entries_message_id_generation",
        "search_entries",
        ["message_id", "generation"],
        unique=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        _build_walls()


def _build_walls() -> None:
    """As 0004 does for the other tables."""
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(_TABLES)} TO madang_app")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_org ON {table} USING ((org_id = {_ORG}) IS TRUE)")
    # `*` reads how far each index is: numbers, and nothing that is in it.
    op.execute(f"CREATE POLICY of_every_org ON search_indexes FOR SELECT USING ({_ORG} = '*')")
    # As the message is seen, by its own policies.
    op.execute(
        "CREATE POLICY seen_by_user ON search_entries AS RESTRICTIVE FOR SELECT USING "
        f"({_USER} = '' OR EXISTS "
        "(SELECT 1 FROM messages AS m WHERE m.id = search_entries.message_id OFFSET 0))"
    )
