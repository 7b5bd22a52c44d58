"""Files: what was uploaded into a conversation, and by whom."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ORG = "(SELECT current_setting('madang.org', true))"
_USER = "(SELECT coalesce(current_setting('madang.user', true), ''))"
_PENDING = sa.text("expires_at IS NOT NULL")


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"

    def words(kind: type[sa.String], length: int | None = None) -> sa.String:
        return kind(length, collation="C" if on_postgresql else None)

    op.create_table(
        "files",
        sa.Column("id", words(sa.String, 36), nullable=False),
        sa.Column("org_id", words(sa.String, 100), nullable=False),
        sa.Column("conversation_id", words(sa.String, 36), nullable=False),
        sa.Column("owner_id", words(sa.String, 100), nullable=False),
        sa.Column("message_id", words(sa.String, 36), nullable=True),
        sa.Column("name", words(sa.Text), nullable=False),
        sa.Column("type", words(sa.String, 100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("status", words(sa.String, 16), nullable=False),
        sa.Column("thumbnail_size", sa.BigInteger(), nullable=True),
        sa.Column("metadata", words(sa.Text), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("messages", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    for name, column in (("ix_files_due", "expires_at"), ("ix_files_pending", "owner_id")):
        op.create_index(
            name,
            "files",
            ["org_id", column],
            unique=False,
            sqlite_where=_PENDING,
            postgresql_where=_PENDING,
        )
    if on_postgresql:
        _wall()


def _wall() -> None:
    """As for every table: see 0004."""
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON files TO madang_app")
    op.execute("ALTER TABLE files ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE files FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_org ON files USING ((org_id = {_ORG}) IS TRUE)")
    op.execute(
        "CREATE POLICY seen_by_user ON files AS RESTRICTIVE FOR SELECT "
        f"USING ({_USER} = '' OR EXISTS (SELECT 1 FROM participants AS mine "
        f"WHERE mine.conversation_id = files.conversation_id AND mine.user_id = {_USER} OFFSET 0))"
    )
