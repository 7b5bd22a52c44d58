"""Applying a batch of writes on one connection: refusals, and finding the one that breaks it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError

from madang import logs
from madang.model.nouns import Batch
from madang.ports.store import Needs, Write
from madang.protocol.errors import MadangError, Unavailable
from madang.store.transaction import SqlTransaction
from madang.store.writer import Committed, InternalError

Outcome = tuple[Any, MadangError | None]
Transact = Callable[[Callable[[Connection], Committed]], Committed]
"""Runs a function of a connection in a transaction; may run it again where that was rolled back."""

_log = logs.get_logger(__name__)


def commit_batch(
    transact: Transact,
    is_storage: Callable[[BaseException], bool],
    org_id: str,
    writes: Sequence[Write],
    now: int,
) -> Committed:
    """Apply all writes in one transaction, which `transact` opens and commits.

    A write that raises `MadangError` is refused alone. If the batch breaks otherwise, it is rolled
    back and committed in halves, so that only the write that breaks it fails, with `INTERNAL`;
    unless it is the storage (`is_storage`), which is `Unavailable` for all of them. One that may
    write an id that is there already, unseen, says what it then fails with as `taken`.
    """
    try:
        return transact(lambda connection: _apply(connection, org_id, writes, now))
    except Exception as error:
        if is_storage(error):
            _log.warning("the store refused a commit", error=_reason(error), writes=len(writes))
            return Committed([(None, Unavailable())] * len(writes), ())
        if len(writes) == 1:
            # An id that the client chose may be another org's, which no read here shows.
            taken: MadangError | None = getattr(writes[0], "taken", None)
            if taken is not None and isinstance(error, IntegrityError):
                return Committed([(None, taken)], ())
            trace = _trace(error)
            _log.error("a write failed", write=type(writes[0]).__name__, org=org_id, trace=trace)
            return Committed([(None, InternalError())], ())
    middle = len(writes) // 2
    first = commit_batch(transact, is_storage, org_id, writes[:middle], now)
    second = commit_batch(transact, is_storage, org_id, writes[middle:], now)
    return Committed(
        [*first.outcomes, *second.outcomes],
        [*first.batches, *second.batches],
    )


def _apply(connection: Connection, org_id: str, writes: Sequence[Write], now: int) -> Committed:
    needs = Needs()
    for write in writes:
        write.needs(needs)
    transaction = SqlTransaction(connection, org_id, now)
    transaction.prefetch(needs)
    outcomes: list[Outcome] = []
    for write in writes:
        try:
            outcomes.append((write.apply(transaction), None))
        except MadangError as refused:
            outcomes.append((None, refused))
    transaction.flush()
    events = tuple(transaction.appended)
    batches = [Batch(org_id, transaction.head, events[-1].cursor, events)] if events else []
    return Committed(outcomes, batches)


def _reason(error: BaseException) -> str:
    """The driver's words without the statement and its values, which are people's messages."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return str(error)
    cause = error.orig.__cause__ or error.orig
    if hasattr(cause, "sqlstate"):
        # Only what the server says first: details, and what the driver says itself, show values.
        return getattr(cause, "message", None) or type(cause).__name__
    return str(cause)


def _trace(error: BaseException) -> str:
    """Where it went wrong, as text: a renderer that shows locals would show people's messages."""
    if isinstance(error, DBAPIError):
        lines = traceback.format_tb(error.__traceback__)
        return "".join([*lines, f"{type(error).__name__}: {_reason(error)}"])
    return "".join(traceback.format_exception(error))
