"""What a PostgreSQL must be before a server serves from it. It is looked at, never changed: whoever
serves does not own the tables, and so cannot step round the policies that keep orgs apart."""

from __future__ import annotations

from sqlalchemy import Connection, text

from madang.store import migrate
from madang.store.errors import DatabaseUnusable, SchemaIsOld
from madang.store.pooling import in_transaction
from madang.store.tables import metadata

OLDEST = 14
"""The oldest version of PostgreSQL that has all that is used."""

_ROLE = text(
    "SELECT current_user, rolsuper, rolbypassrls, "
    "current_setting('server_version_num')::integer / 10000 "
    "FROM pg_roles WHERE rolname = current_user"
)
_TABLES = text(
    "SELECT c.relname, pg_has_role(c.relowner, 'MEMBER'), "
    "c.relrowsecurity AND c.relforcerowsecurity, has_table_privilege(c.oid, 'SELECT') "
    "FROM pg_class AS c WHERE c.oid = ANY (SELECT to_regclass(name) FROM unnest("
    "CAST(:names AS text[])) AS given (name))"
)
_AS_OWNER = (
    "run `madang db upgrade --database postgresql://OWNER@…` as the role that owns the tables"
)


def check(url: str) -> None:
    """Whether a server may serve from this database, as this role.

    Raises:
        DatabaseUnusable: no; the text says what to do.
    """
    in_transaction(url, _check)


def _check(connection: Connection) -> None:
    role, is_superuser, bypasses, version = connection.execute(_ROLE).one()
    if version < OLDEST:
        raise DatabaseUnusable(
            f"The database is PostgreSQL {version}, and {OLDEST} is the oldest that will do: "
            "upgrade it."
        )
    if is_superuser or bypasses:
        what = "is a superuser" if is_superuser else "may bypass row-level security"
        raise DatabaseUnusable(
            f"The role {role!r} {what}, so nothing would keep orgs apart: "
            "serve as a role that is only a member of madang_app."
        )
    names = ["alembic_version", *metadata.tables]
    found = {row[0]: row for row in connection.execute(_TABLES, {"names": names})}
    if "alembic_version" not in found:
        raise SchemaIsOld(f"The database has no schema yet: {_AS_OWNER}.")
    if owned := [name for name, row in found.items() if row[1]]:
        raise DatabaseUnusable(
            f"The role {role!r} owns the table {owned[0]!r}, so it could put its policies aside: "
            "serve as another role, which is only a member of madang_app."
        )
    if not found["alembic_version"][3]:
        raise DatabaseUnusable(
            f"The role {role!r} may not use Madang's tables: GRANT madang_app TO {role}."
        )
    try:
        migrate.compare(migrate.revision(connection))
    except SchemaIsOld as old:
        raise SchemaIsOld(str(old).replace("run `madang db upgrade`", _AS_OWNER)) from None
    for name in metadata.tables:
        if name != "epochs" and not found[name][2]:
            raise DatabaseUnusable(
                f"Row-level security is off for the table {name!r}: as its owner, "
                f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY."
            )
