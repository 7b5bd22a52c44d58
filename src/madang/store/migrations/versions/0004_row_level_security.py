"""On PostgreSQL, the database itself keeps orgs apart, and a reader out of what others say.

A server logs in as a member of `madang_app`, which owns nothing, and says in every transaction
whose rows it wants: `madang.org`, and `madang.user` where it reads for somebody. Nothing said,
nothing seen. Why these policies: docs/decisions/003-row-level-security.md.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As queries of their own they are read once a statement, and not once a row.
_ORG = "(SELECT current_setting('madang.org', true))"
_USER = "(SELECT coalesce(current_setting('madang.user', true), ''))"

_OF_ORG = ("conversations", "participants", "messages", "reactions", "events", "devices", "users")
_OF_LOG = {"orgs": "id", "gaps": "org_id"}

# One look-up by its key for each row; without the OFFSET it may become a list of everything the
# user is in, made anew for each query.
_IS_IN = (
    "EXISTS (SELECT 1 FROM participants AS mine WHERE mine.conversation_id = {conversation} "
    f"AND mine.user_id = {_USER} OFFSET 0)"
)
_SEEN = {
    "conversations": _IS_IN.format(conversation="conversations.id"),
    "messages": _IS_IN.format(conversation="messages.conversation_id"),
    # Who was sent out of a conversation is told that.
    "events": _IS_IN.format(conversation="events.conversation_id")
    + f" OR (events.type = 'participant.left' AND events.user_id = {_USER})",
    # As the message is seen, by its own policies.
    "reactions": "EXISTS (SELECT 1 FROM messages AS m WHERE m.id = reactions.message_id OFFSET 0)",
}


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    if not connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = 'madang_app'")):
        op.execute("CREATE ROLE madang_app NOLOGIN")
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    tables = [*_OF_ORG, *_OF_LOG]
    op.execute(f"GRANT USAGE ON SCHEMA {schema} TO madang_app")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(tables)} TO madang_app")
    op.execute("GRANT SELECT ON epochs, alembic_version TO madang_app")

    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    for table in _OF_ORG:
        # `IS TRUE` keeps it a condition on what was found by the query's own index: as a condition
        # for an index it would have a whole org read where the planner knows nothing better.
        op.execute(f"CREATE POLICY of_org ON {table} USING ((org_id = {_ORG}) IS TRUE)")
    for table, org in _OF_LOG.items():
        op.execute(f"CREATE POLICY of_org ON {table} USING (({org} = {_ORG}) IS TRUE)")
        # `*` reads heads and epochs: numbers of every org's log, and nothing that is in it.
        op.execute(f"CREATE POLICY of_every_org ON {table} FOR SELECT USING ({_ORG} = '*')")
        # A new epoch moves every head: whoever owns the tables may, who serves may not.
        owns = (
            f"pg_has_role((SELECT relowner FROM pg_class WHERE oid = '{table}'::regclass), 'USAGE')"
        )
        op.execute(f"CREATE POLICY of_owner ON {table} USING ({_ORG} = '*' AND {owns})")
    # The gaps of orgs that a backup did not know are everybody's.
    op.execute("CREATE POLICY of_all ON gaps FOR SELECT USING (org_id = '')")
    for table, seen in _SEEN.items():
        op.execute(
            f"CREATE POLICY seen_by_user ON {table} AS RESTRICTIVE FOR SELECT "
            f"USING ({_USER} = '' OR {seen})"
        )
