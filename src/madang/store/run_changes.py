"""Sessions and runs in a commit: read with one query a kind for the whole batch, changed in
memory, written with one statement a table and kind of change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Table, bindparam, func, select

from madang.model.runs import Run, Session
from madang.store import bulk, run_rows
from madang.store.tables import run_leases, runs, sessions

_UNDER_WAY = (
    select(runs.c.asked_by, func.count())
    .where(runs.c.org_id == bindparam("org"), runs.c.ended_at.is_(None))
    .group_by(runs.c.asked_by)
)
_SESSION = ("agent_id", "handler", "when_busy", "answers", "choices", "titled_by")
_RUN = ("status", "checked_at", "ended_at", "tokens_used", "latency_ms", "ends")


class RunChanges:
    """The part of a `ports.Transaction` that is about agents."""

    def __init__(self, connection: Connection, org_id: str) -> None:
        self._on = connection
        self._org = org_id
        self._sessions: dict[str, Session | None] = {}
        self._runs: dict[str, Run | None] = {}
        self._asked_again: dict[tuple[str, str, str], str | None] = {}
        self._active: dict[str, dict[str, None]] = {}
        """Of conversations that were read, the runs under way, in no order."""
        self._new_sessions: dict[str, None] = {}
        self._saved_sessions: dict[str, None] = {}
        self._new_runs: dict[str, None] = {}
        self._saved_runs: dict[str, None] = {}
        self._counts: dict[str, int] | None = None
        self._leased: set[str] = set()
        """Those that the database has a lease of."""

    def load_sessions(self, conversation_ids: Iterable[str]) -> None:
        """Read the sessions of these conversations and the runs under way in them."""
        wanted = [i for i in conversation_ids if i not in self._sessions]
        if not wanted:
            return
        self._sessions.update((i, None) for i in wanted)
        for row in bulk.select(self._on, sessions, ("conversation_id",), [(i,) for i in wanted]):
            if row[1] == self._org:
                self._sessions[row[0]] = run_rows.session_of(row)
        found = [i for i in wanted if self._sessions[i] is not None]
        self._active.update((i, {}) for i in found)
        places = [(i, status) for i in found for status in ("waiting", "streaming")]
        for row in bulk.select(self._on, runs, ("conversation_id", "status"), places):
            if row[1] == self._org:
                if row[0] not in self._runs:
                    self._take(run_rows.run_of(row))
                self._active[row[2]][row[0]] = None

    def load_runs(self, ids: Iterable[str]) -> None:
        wanted = [(i,) for i in ids if i not in self._runs]
        self._runs.update((i, None) for (i,) in wanted)
        for row in bulk.select(self._on, runs, ("message_id",), wanted):
            if row[1] == self._org:
                self._take(run_rows.run_of(row))

    def load_asked_again(self, asked: Iterable[tuple[str, str, str]]) -> None:
        """Read the runs by (conversation_id, asked_by, client_id)."""
        wanted = [key for key in asked if key not in self._asked_again]
        self._asked_again.update((key, None) for key in wanted)
        keys = ("conversation_id", "asked_by", "client_id")
        for row in bulk.select(self._on, runs, keys, wanted):
            if row[1] == self._org:
                run = run_rows.run_of(row)
                assert run.client_id is not None
                self._asked_again[run.conversation_id, run.asked_by, run.client_id] = row[0]
                if self._runs.get(row[0]) is None:
                    self._take(run)

    def _take(self, run: Run) -> None:
        self._runs[run.message_id] = run
        if run.status == "streaming":
            self._leased.add(run.message_id)

    def session(self, conversation_id: str) -> Session | None:
        if conversation_id not in self._sessions:
            self.load_sessions([conversation_id])
        return self._sessions[conversation_id]

    def run(self, message_id: str) -> Run | None:
        if message_id not in self._runs:
            self.load_runs([message_id])
        return self._runs[message_id]

    def asked_again(self, conversation_id: str, asked_by: str, client_id: str) -> Run | None:
        key = (conversation_id, asked_by, client_id)
        if key not in self._asked_again:
            self.load_asked_again([key])
        message_id = self._asked_again[key]
        return None if message_id is None else self.run(message_id)

    def runs_under_way(self, conversation_id: str) -> Sequence[Run]:
        self.session(conversation_id)
        found = [self._runs[i] for i in self._active.get(conversation_id, ())]
        return sorted(
            (run for run in found if run is not None and not run.over),
            key=lambda run: run.message_id,
        )

    def run_counts(self, asked_by: str) -> tuple[int, int]:
        if self._counts is None:
            self._counts = {
                row[0]: row[1] for row in self._on.execute(_UNDER_WAY, {"org": self._org})
            }
            # What this commit has changed and not written yet.
            for message_id in (*self._new_runs, *self._saved_runs):
                run = self._runs[message_id]
                if run is not None and run.over != (message_id in self._new_runs):
                    self._count(run.asked_by, -1 if run.over else 1)
        return self._counts.get(asked_by, 0), sum(self._counts.values())

    def _count(self, asked_by: str, more: int) -> None:
        if self._counts is not None:
            self._counts[asked_by] = self._counts.get(asked_by, 0) + more

    def add_session(self, session: Session) -> None:
        self._sessions[session.conversation_id] = session
        self._active[session.conversation_id] = {}
        self._new_sessions[session.conversation_id] = None

    def save_session(self, session: Session) -> None:
        self._sessions[session.conversation_id] = session
        if session.conversation_id not in self._new_sessions:
            self._saved_sessions[session.conversation_id] = None

    def add_run(self, run: Run) -> None:
        self._runs[run.message_id] = run
        self._active.setdefault(run.conversation_id, {})[run.message_id] = None
        self._new_runs[run.message_id] = None
        if run.client_id is not None:
            self._asked_again[run.conversation_id, run.asked_by, run.client_id] = run.message_id
        self._count(run.asked_by, 1)

    def save_run(self, run: Run) -> None:
        before = self._runs.get(run.message_id)
        if run.over and before is not None and not before.over:
            self._count(run.asked_by, -1)
        self._runs[run.message_id] = run
        if run.message_id not in self._new_runs:
            self._saved_runs[run.message_id] = None

    def flush_runs(self) -> None:
        """Write everything."""
        session_row, run_row = run_rows.session_row, run_rows.run_row
        _write(
            self._on,
            sessions,
            _SESSION,
            new=[session_row(s) for i in self._new_sessions if (s := self._sessions[i])],
            saved=[session_row(s) for i in self._saved_sessions if (s := self._sessions[i])],
        )
        _write(
            self._on,
            runs,
            _RUN,
            new=[run_row(r) for i in self._new_runs if (r := self._runs[i])],
            saved=[run_row(r) for i in self._saved_runs if (r := self._runs[i])],
        )
        self._flush_leases()

    def _flush_leases(self) -> None:
        added, renewed, ended = [], [], []
        for message_id in (*self._new_runs, *self._saved_runs):
            run = self._runs[message_id]
            assert run is not None, "only known runs are written"
            leased = message_id in self._leased
            if run.status != "streaming":
                if leased:
                    ended.append((message_id,))
            elif leased:
                renewed.append((message_id, run.checked_at))
            else:
                added.append((message_id, run.org_id, run.checked_at))
        key = ("message_id",)
        bulk.insert(self._on, run_leases, added)
        bulk.update(self._on, run_leases, key, ("checked_at",), renewed)
        bulk.delete(self._on, run_leases, key, ended)


def _write(
    connection: Connection,
    table: Table,
    columns: tuple[str, ...],
    *,
    new: Sequence[bulk.Row],
    saved: Sequence[bulk.Row],
) -> None:
    """Add the new rows; of those saved again only these columns change. Rows are whole, and found
    by their first column."""
    names = [column.name for column in table.columns]
    places = [0, *map(names.index, columns)]
    bulk.insert(connection, table, new)
    rows = [tuple(row[place] for place in places) for row in saved]
    bulk.update(connection, table, (names[0],), columns, rows)
