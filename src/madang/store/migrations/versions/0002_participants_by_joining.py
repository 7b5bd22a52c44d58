"""Participants in order of joining."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_participants_conversation_id_joined_at_user_id",
        "participants",
        ["conversation_id", "joined_at", "user_id"],
        unique=False,
    )
