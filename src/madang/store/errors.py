"""Why a database cannot be worked with. Each is one sentence that says what to do, for whoever
started the program."""

from __future__ import annotations


class DatabaseUnusable(Exception):
    """The database is not there, or not as it must be; the text says what to do."""


class SchemaError(DatabaseUnusable):
    """The database's schema is not the one this version works with."""


class SchemaIsOld(SchemaError):
    """There is no schema yet, or one of an earlier version: `upgrade` mends it."""
