"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("direct_key", sa.String(length=256), nullable=True),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_cursor", sa.BigInteger(), nullable=False),
        sa.Column("last_message_id", sa.String(length=36), nullable=True),
        sa.Column("created_by", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
    )
    op.create_index(
        "uq_conversations_org_id_direct_key",
        "conversations",
        ["org_id", "direct_key"],
        unique=True,
        sqlite_where=sa.text("direct_key IS NOT NULL"),
        postgresql_where=sa.text("direct_key IS NOT NULL"),
    )

    op.create_table(
        "devices",
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("user_id", sa.String(length=100), nullable=False),
        sa.Column("client_id", sa.String(length=256), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "user_id", "client_id", name="pk_devices"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "epochs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_epochs"),
    )
    op.create_table(
        "events",
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("actor_id", sa.String(length=100), nullable=False),
        sa.Column("user_id", sa.String(length=100), nullable=True),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "cursor", name="pk_events"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "uq_events_conversation_id_seq", "events", ["conversation_id", "seq"], unique=True
    )
    op.create_index(
        "ix_events_left",
        "events",
        ["org_id", "user_id", "cursor"],
        unique=False,
        sqlite_where=sa.text("type = 'participant.left'"),
        postgresql_where=sa.text("type = 'participant.left'"),
    )
    op.create_index(
        "uq_events_org_id_actor_id_idempotency_key",
        "events",
        ["org_id", "actor_id", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )

    op.create_table(
        "gaps",
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("until_cursor", sa.BigInteger(), nullable=False),
        sa.Column("after_cursor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "until_cursor", name="pk_gaps"),
        sqlite_with_rowid=False,
    )

    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sender_id", sa.String(length=100), nullable=False),
        sa.Column("sender_type", sa.String(length=16), nullable=False),
        sa.Column("message_type", sa.String(length=16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("reply_to_id", sa.String(length=36), nullable=True),
        sa.Column("attachments", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("edited_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("conversation_id", "seq", name="uq_messages_conversation_id_seq"),
    )
    op.create_index(
        "uq_messages_conversation_id_client_id_sender_id",
        "messages",
        ["conversation_id", "client_id", "sender_id"],
        unique=True,
        sqlite_where=sa.text("client_id IS NOT NULL"),
        postgresql_where=sa.text("client_id IS NOT NULL"),
    )

    op.create_table(
        "orgs",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("last_cursor", sa.BigInteger(), nullable=False),
        sa.Column("oldest_cursor", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orgs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "participants",
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=100), nullable=False),
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("nickname", sa.Text(), nullable=True),
        sa.Column("last_read_seq", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("notification_level", sa.String(length=16), nullable=False),
        sa.Column("muted_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("conversation_id", "user_id", name="pk_participants"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_participants_org_id_user_id", "participants", ["org_id", "user_id"], unique=False
    )

    op.create_table(
        "reactions",
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=100), nullable=False),
        sa.Column("emoji", sa.String(length=64), nullable=False),
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", "user_id", "emoji", name="pk_reactions"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "users",
        sa.Column("org_id", sa.String(length=100), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("last_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", "id", name="pk_users"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("users")
    op.drop_table("reactions")
    op.drop_table("participants")
    op.drop_table("orgs")
    op.drop_table("messages")
    op.drop_table("gaps")
    op.drop_table("events")
    op.drop_table("epochs")
    op.drop_table("devices")
    op.drop_table("conversations")
