"""The tables, the same on every database.

Ids are text, times and cursors whole microseconds, JSON is text. Every table with an org's rows
has `org_id`. Event rows hold references, never a message's text: replay joins the message as it
is now, so what was deleted is in no row of the log.

`migrations/` builds exactly this; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES)


def _by_bytes(kind: type[String], length: int | None = None) -> String:
    """Text that sorts by its bytes on every database, as SQLite's always does."""
    return kind(length).with_variant(kind(length, collation="C"), "postgresql")


Id = _by_bytes(String, 36)
Name = _by_bytes(String, 100)
Words = _by_bytes(Text)
Micros = BigInteger

orgs = Table(
    "orgs",
    metadata,
    Column("id", Name, primary_key=True),
    # The org's row is its lock: whoever commits for the org holds it.
    Column("last_cursor", Micros, nullable=False),
    Column("oldest_cursor", Micros, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)

# One row: the log's epoch, which changes when a backup took the log's place.
epochs = Table(
    "epochs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", _by_bytes(String, 32), nullable=False),
)

# Cursors that were given out for events the database has lost: those between the head of a restored
# backup and the moment its new epoch began, both left out. The row of the org "" is for orgs that
# the backup did not know.
gaps = Table(
    "gaps",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("until_cursor", Micros, primary_key=True),
    Column("after_cursor", Micros, nullable=False),
    sqlite_with_rowid=False,
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("kind", _by_bytes(String, 16), nullable=False),
    Column("title", Words),
    Column("metadata", Words, nullable=False),
    Column("status", _by_bytes(String, 16), nullable=False),
    Column("direct_key", _by_bytes(String, 256)),
    Column("last_seq", BigInteger, nullable=False),
    # The cursor of the event with `last_seq`: tells a catch-up which conversations to skip.
    Column("last_cursor", Micros, nullable=False),
    Column("last_message_id", Id),
    Column("created_by", Name, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
)
Index(
    "uq_conversations_org_id_direct_key",
    conversations.c.org_id,
    conversations.c.direct_key,
    unique=True,
    sqlite_where=conversations.c.direct_key.is_not(None),
    postgresql_where=conversations.c.direct_key.is_not(None),
)

participants = Table(
    "participants",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("user_id", Name, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("role", _by_bytes(String, 16), nullable=False),
    Column("nickname", Words),
    Column("last_read_seq", BigInteger, nullable=False),
    Column("joined_at", Micros, nullable=False),
    Column("notification_level", _by_bytes(String, 16), nullable=False),
    Column("muted_until", Micros),
    Index(None, "org_id", "user_id"),
    # Who has been in it longest, and how many they are, without reading thousands of rows. Sending
    # and reading change nothing in it.
    Index(None, "conversation_id", "joined_at", "user_id"),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("conversation_id", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("sender_id", Name, nullable=False),
    Column("sender_type", _by_bytes(String, 16), nullable=False),
    Column("message_type", _by_bytes(String, 16), nullable=False),
    Column("content", Words, nullable=False),
    Column("metadata", Words, nullable=False),
    Column("reply_to_id", Id),
    Column("attachments", Words, nullable=False),
    Column("client_id", Words),
    Column("created_at", Micros, nullable=False),
    Column("edited_at", Micros),
    Column("deleted_at", Micros),
    UniqueConstraint("conversation_id", "seq"),
)
# In this order, clients that count or time their ids write beside each other: with the sender
# first, a batch of a thousand messages by a thousand senders touched a thousand pages.
Index(
    "uq_messages_conversation_id_client_id_sender_id",
    messages.c.conversation_id,
    messages.c.client_id,
    messages.c.sender_id,
    unique=True,
    sqlite_where=messages.c.client_id.is_not(None),
    postgresql_where=messages.c.client_id.is_not(None),
)

reactions = Table(
    "reactions",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("user_id", Name, primary_key=True),
    Column("emoji", _by_bytes(String, 64), primary_key=True),
    Column("org_id", Name, nullable=False),
    # The cursor of the event that added it: the order in which reactions are listed.
    Column("cursor", Micros, nullable=False),
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("cursor", Micros, primary_key=True),
    Column("conversation_id", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("type", _by_bytes(String, 100), nullable=False),
    Column("actor_id", Name, nullable=False),
    Column("user_id", Name),
    Column("message_id", Id),
    Column("data", Words, nullable=False),
    Column("idempotency_key", Words),
    Column("created_at", Micros, nullable=False),
    sqlite_with_rowid=False,
)
# On SQLite an index also holds the primary key, so this one alone answers "which cursor has seq N";
# but as an index: of a constraint's SQLite does not know it.
Index("uq_events_conversation_id_seq", events.c.conversation_id, events.c.seq, unique=True)
Index(
    "uq_events_org_id_actor_id_idempotency_key",
    events.c.org_id,
    events.c.actor_id,
    events.c.idempotency_key,
    unique=True,
    sqlite_where=events.c.idempotency_key.is_not(None),
    postgresql_where=events.c.idempotency_key.is_not(None),
)
Index(
    "ix_events_left",
    events.c.org_id,
    events.c.user_id,
    events.c.cursor,
    sqlite_where=events.c.type == "participant.left",
    postgresql_where=events.c.type == "participant.left",
)

devices = Table(
    "devices",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("user_id", Name, primary_key=True),
    Column("client_id", _by_bytes(String, 256), primary_key=True),
    Column("cursor", Micros, nullable=False),
    Column("updated_at", Micros, nullable=False),
    sqlite_with_rowid=False,
)

users = Table(
    "users",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("last_seen", Micros, nullable=False),
    sqlite_with_rowid=False,
)

# A live room beside its conversation. `settings` and `untold` (ids of messages) are JSON.
rooms = Table(
    "rooms",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("code", _by_bytes(String, 16), nullable=False),
    Column("title", Words, nullable=False),
    Column("status", _by_bytes(String, 16), nullable=False),
    Column("settings", Words, nullable=False),
    Column("language", _by_bytes(String, 16), nullable=False),
    Column("host_key", _by_bytes(String, 64), nullable=False),
    Column("host_id", Name, nullable=False),
    Column("created_by", Name, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("seats", Integer, nullable=False),
    Column("questions", Integer, nullable=False),
    Column("live_question_id", Id),
    Column("ended_at", Micros),
    Column("erase_at", Micros),
    Column("counts_told_at", Micros, nullable=False),
    Column("untold", Words, nullable=False),
    sqlite_with_rowid=False,
)

# What is read before the org is known, or for every org: which room a code is, and which rooms have
# something due. `untold_since` is when a room with untold counts was last told of any.
room_codes = Table(
    "room_codes",
    metadata,
    Column("code", _by_bytes(String, 16), primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("conversation_id", Id, nullable=False),
    Column("untold_since", Micros),
    Column("erase_at", Micros),
    sqlite_with_rowid=False,
)
for due in (room_codes.c.untold_since, room_codes.c.erase_at):
    Index(None, due, sqlite_where=due.is_not(None), postgresql_where=due.is_not(None))

seats = Table(
    "seats",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("participant_id", Name, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("role", _by_bytes(String, 16), nullable=False),
    Column("nickname", Words, nullable=False),
    Column("skeleton", Words, nullable=False),
    Column("number", Integer, nullable=False),
    Column("key", _by_bytes(String, 64), nullable=False),
    Column("joined_at", Micros, nullable=False),
    Column("address", _by_bytes(String, 64)),
    Column("device", _by_bytes(String, 64)),
    Column("muted", Integer, nullable=False),
    Column("gone", _by_bytes(String, 16)),
    Column("online", Integer, nullable=False),
    Column("used_at", Micros),
    Column("last_chat_at", Micros, nullable=False),
    Column("last_asked_at", Micros, nullable=False),
    UniqueConstraint("conversation_id", "skeleton", "number"),
    Index(None, "conversation_id", "key"),
    Index(None, "conversation_id", "joined_at", "participant_id"),
    sqlite_with_rowid=False,
)
for kept in (seats.c.address, seats.c.device):
    Index(
        f"ix_seats_conversation_id_{kept.name}",
        seats.c.conversation_id,
        kept,
        sqlite_where=kept.is_not(None),
        postgresql_where=kept.is_not(None),
    )

# What lists of questions and polls are sorted and chosen by. The message says the same.
questions = Table(
    "questions",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("conversation_id", Id, nullable=False),
    Column("kind", _by_bytes(String, 16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("asked_by", Name, nullable=False),
    Column("state", _by_bytes(String, 16), nullable=False),
    Column("votes", Integer, nullable=False),
    Column("visible", Integer, nullable=False),
    Index(None, "conversation_id", "seq"),
    Index(None, "conversation_id", "asked_by"),
    sqlite_with_rowid=False,
)

# `choice` is empty for a question's vote; `voter` is the device or address whose only vote it is,
# where the room counts by those.
votes = Table(
    "votes",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("participant_id", Name, primary_key=True),
    Column("choice", _by_bytes(String, 100), primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("voter", _by_bytes(String, 64)),
    sqlite_with_rowid=False,
)
Index(
    "ix_votes_message_id_voter",
    votes.c.message_id,
    votes.c.voter,
    sqlite_where=votes.c.voter.is_not(None),
    postgresql_where=votes.c.voter.is_not(None),
)

# One index of an org's messages: it has followed the log up to `cursor`, and given out the numbers
# below `documents`. Another generation is built beside the one that serves and takes its place.
search_indexes = Table(
    "search_indexes",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("state", _by_bytes(String, 16), nullable=False),
    Column("cursor", Micros, nullable=False),
    Column("documents", BigInteger, nullable=False),
    Column("updated_at", Micros, nullable=False),
    sqlite_with_rowid=False,
)

# Messages whose numbers stand together, and when they were said.
search_blocks = Table(
    "search_blocks",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("first_at", Micros, nullable=False),
    Column("last_at", Micros, nullable=False),
    sqlite_with_rowid=False,
)

# Which of a block's messages stand under a term; the form is `store.postings`'. PostgreSQL leaves
# room on its pages and does not compress it (migration 0009).
search_postings = Table(
    "search_postings",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("term", Words, primary_key=True),
    Column("documents", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

# A message's number.
search_entries = Table(
    "search_entries",
    metadata,
    Column("org_id", Name, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", Id, nullable=False),
    sqlite_with_rowid=False,
)
Index(
    "uq_search_entries_message_id_generation",
    search_entries.c.message_id,
    search_entries.c.generation,
    unique=True,
)

# What was uploaded; the bytes are blobs elsewhere. A row outlives its blobs, never the other way
# round: so a blob that somebody left behind is always found.
files = Table(
    "files",
    metadata,
    Column("id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("conversation_id", Id, nullable=False),
    Column("owner_id", Name, nullable=False),
    Column("message_id", Id),
    Column("name", Words, nullable=False),
    Column("type", Name, nullable=False),
    Column("size", BigInteger),
    Column("received", BigInteger, nullable=False),
    Column("status", _by_bytes(String, 16), nullable=False),
    Column("thumbnail_size", BigInteger),
    Column("metadata", Words, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("expires_at", Micros),
    Column("messages", BigInteger, nullable=False),
)
# Only what is unfinished, unsent or deleted is in these: few rows, however many files there are.
Index(
    "ix_files_due",
    files.c.org_id,
    files.c.expires_at,
    sqlite_where=files.c.expires_at.is_not(None),
    postgresql_where=files.c.expires_at.is_not(None),
)
Index(
    "ix_files_pending",
    files.c.org_id,
    files.c.owner_id,
    sqlite_where=files.c.expires_at.is_not(None),
    postgresql_where=files.c.expires_at.is_not(None),
)

# What a conversation of the kind `agent` has besides.
sessions = Table(
    "sessions",
    metadata,
    Column("conversation_id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("agent_id", Name, nullable=False),
    Column("trace_id", _by_bytes(String, 32), nullable=False),
    Column("handler", Name),
    Column("when_busy", _by_bytes(String, 16), nullable=False),
    Column("answers", _by_bytes(String, 16), nullable=False),
    Column("choices", Words, nullable=False),
    # The message that the title was made of, which goes with it.
    Column("titled_by", Id),
    sqlite_with_rowid=False,
)

# Answers of agents. No word of them stands here: the text so far is its message's content.
runs = Table(
    "runs",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("conversation_id", Id, nullable=False),
    Column("agent_id", Name, nullable=False),
    Column("asked_by", Name, nullable=False),
    Column("question_id", Id),
    Column("status", _by_bytes(String, 16), nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("checked_at", Micros, nullable=False),
    Column("ended_at", Micros),
    Column("tokens_used", BigInteger),
    Column("latency_ms", BigInteger),
    Column("ends", Words, nullable=False),
    Column("alternative_of", Id),
    Column("client_id", Words),
    Index(None, "conversation_id", "status"),
    sqlite_with_rowid=False,
)
# Those under way, by user.
Index(
    "ix_runs_under_way",
    runs.c.org_id,
    runs.c.asked_by,
    sqlite_where=runs.c.ended_at.is_(None),
    postgresql_where=runs.c.ended_at.is_(None),
)
# A repeat of what was asked for.
Index(
    "uq_runs_conversation_id_client_id_asked_by",
    runs.c.conversation_id,
    runs.c.client_id,
    runs.c.asked_by,
    unique=True,
    sqlite_where=runs.c.client_id.is_not(None),
    postgresql_where=runs.c.client_id.is_not(None),
)

# Runs that are being written, and when their node last said so. Apart, because whoever looks for
# those that nobody goes on with looks at all orgs: ids and times, and nothing of what they are.
run_leases = Table(
    "run_leases",
    metadata,
    Column("message_id", Id, primary_key=True),
    Column("org_id", Name, nullable=False),
    Column("checked_at", Micros, nullable=False),
    Index(None, "checked_at"),
    sqlite_with_rowid=False,
)
