"""Sessions with agents, and their runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ORG = "(SELECT current_setting('madang.org', true))"
_USER = "(SELECT coalesce(current_setting('madang.user', true), ''))"


def _text(length: int | None = None) -> sa.types.TypeEngine[str]:
    """Text that sorts by its bytes (0003)."""
    kind = sa.Text if length is None else sa.String
    return kind(length).with_variant(kind(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("agent_id", _text(100), nullable=False),
        sa.Column("trace_id", _text(32), nullable=False),
        sa.Column("handler", _text(100), nullable=True),
        sa.Column("when_busy", _text(16), nullable=False),
        sa.Column("answers", _text(16), nullable=False),
        sa.Column("choices", _text(), nullable=False),
        sa.Column("titled_by", _text(36), nullable=True),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_sessions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("message_id", _text(36), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("agent_id", _text(100), nullable=False),
        sa.Column("asked_by", _text(100), nullable=False),
        sa.Column("question_id", _text(36), nullable=True),
        sa.Column("status", _text(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("tokens_used", sa.BigInteger(), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=True),
        sa.Column("ends", _text(), nullable=False),
        sa.Column("alternative_of", _text(36), nullable=True),
        sa.Column("client_id", _text(), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name="pk_runs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_runs_conversation_id_status", "runs", ["conversation_id", "status"])
    op.create_index(
        "ix_runs_under_way",
        "runs",
        ["org_id", "asked_by"],
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_runs_conversation_id_client_id_asked_by",
        "runs",
        ["conversation_id", "client_id", "asked_by"],
        unique=True,
        sqlite_where=text("client_id IS NOT NULL"),
        postgresql_where=text("client_id IS NOT NULL"),
    )
    op.create_table(
        "run_leases",
        sa.Column("message_id", _text(36), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_run_leases"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_leases_checked_at", "run_leases", ["checked_at"])
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _secure()


def _secure() -> None:
    """The walls of 0004, for these tables."""
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, runs, run_leases TO madang_app")
    for table in ("sessions", "runs", "run_leases"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_org ON {table} USING ((org_id = {_ORG}) IS TRUE)")
    for table in ("sessions", "runs"):
        op.execute(
            f"CREATE POLICY seen_by_user ON {table} AS RESTRICTIVE FOR SELECT "
            f"USING ({_USER} = '' OR EXISTS (SELECT 1 FROM participants AS mine "
            f"WHERE mine.conversation_id = {table}.conversation_id "
            f"AND mine.user_id = {_USER} OFFSET 0))"
        )
    # `*` finds the runs that nobody goes on with, whichever org they are of.
    op.execute(f"CREATE POLICY of_every_org ON run_leases FOR SELECT USING ({_ORG} = '*')")
