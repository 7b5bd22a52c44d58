"""Live rooms: the room, its code, its seats, what is asked in it and who voted.

Their rows are held to an org as all others. Codes may be looked up in every org at once, and with
them what is due in a room: ids and times, and nothing that is said in it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ORG = "(SELECT current_setting('madang.org', true))"
_TABLES = ("rooms", "room_codes", "seats", "questions", "votes")


def _text(length: int | None = None) -> sa.types.TypeEngine[str]:
    """Text that is compared by its bytes."""
    if length is None:
        return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rooms",
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("code", _text(16), nullable=False),
        sa.Column("title", _text(), nullable=False),
        sa.Column("status", _text(16), nullable=False),
        sa.Column("settings", _text(), nullable=False),
        sa.Column("language", _text(16), nullable=False),
        sa.Column("host_key", _text(64), nullable=False),
        sa.Column("host_id", _text(100), nullable=False),
        sa.Column("created_by", _text(100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seats", sa.Integer(), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
        sa.Column("live_question_id", _text(36), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("erase_at", sa.BigInteger(), nullable=True),
        sa.Column("counts_told_at", sa.BigInteger(), nullable=False),
        sa.Column("untold", _text(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_rooms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "room_codes",
        sa.Column("code", _text(16), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("untold_since", sa.BigInteger(), nullable=True),
        sa.Column("erase_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("code", name="pk_room_codes"),
        sqlite_with_rowid=False,
    )
    for due in ("untold_since", "erase_at"):
        _partial_index("room_codes", due)

    op.create_table(
        "seats",
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("participant_id", _text(100), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("role", _text(16), nullable=False),
        sa.Column("nickname", _text(), nullable=False),
        sa.Column("skeleton", _text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", _text(64), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("address", _text(64), nullable=True),
        sa.Column("device", _text(64), nullable=True),
        sa.Column("muted", sa.Integer(), nullable=False),
        sa.Column("gone", _text(16), nullable=True),
        sa.Column("online", sa.Integer(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("last_chat_at", sa.BigInteger(), nullable=False),
        sa.Column("last_asked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", "participant_id", name="pk_seats"),
        sa.UniqueConstraint(
            "conversation_id", "skeleton", "number", name="uq_seats_conversation_id_skeleton_number"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_seats_conversation_id_key", "seats", ["conversation_id", "key"])
    op.create_index(
        "ix_seats_conversation_id_joined_at_participant_id",
        "seats",
        ["conversation_id", "joined_at", "participant_id"],
    )
    for kept in ("address", "device"):
        _partial_index("seats", "conversation_id", kept)

    op.create_table(
        "questions",
        sa.Column("message_id", _text(36), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("conversation_id", _text(36), nullable=False),
        sa.Column("kind", _text(16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", _text(100), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("visible", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_questions"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_questions_conversation_id_seq", "questions", ["conversation_id", "seq"])

    op.create_table(
        "votes",
        sa.Column("message_id", _text(36), nullable=False),
        sa.Column("participant_id", _text(100), nullable=False),
        sa.Column("choice", _text(100), nullable=False),
        sa.Column("org_id", _text(100), nullable=False),
        sa.Column("voter", _text(64), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "participant_id", "choice", name="pk_votes"),
        sqlite_with_rowid=False,
    )
    _partial_index("votes", "message_id", "voter")

    if op.get_bind().dialect.name == "postgresql":
        _guard()


def _partial_index(table: str, *columns: str) -> None:
    """An index of the rows where the last of these columns has a value."""
    op.create_index(
        f"ix_{table}_{'_'.join(columns)}",
        table,
        list(columns),
        sqlite_where=sa.text(f"{columns[-1]} IS NOT NULL"),
        postgresql_where=sa.text(f"{columns[-1]} IS NOT NULL"),
    )


def _guard() -> None:
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(_TABLES)} TO madang_app")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY of_org ON {table} USING ((org_id = {_ORG}) IS TRUE)")
    op.execute(f"CREATE POLICY of_every_org ON room_codes FOR SELECT USING ({_ORG} = '*')")
