"""Who is known on this node: users' memberships, loaded once, many at a time, kept current by the
participant events themselves, and forgotten a while after the last connection went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Protocol

from madang import logs
from madang.hub.frame import Outgoing
from madang.hub.hub import Hub, Member
from madang.model.nouns import Event
from madang.ports.bus import Bus
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError, Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

LOAD_BATCH = 500
"""Users in one query: below SQLite's limit for parameters, above what one turn accepts."""

KEEP_SECONDS = 120
"""How long a member without connections is kept current, for those who come right back."""
MOST_DEPARTED = 64
"""Conversations left that are remembered of a member, to be told of again after a reconnect."""

Ready = Callable[[Member | None, MadangError | None], None]
"""Gets the member, or why there is none."""


@dataclass(slots=True)
class _Loading:
    """A user being read, and what happened to their memberships meanwhile, in order."""

    ready: list[Ready] = field(default_factory=list)
    changes: list[tuple[str, bool]] = field(default_factory=list)


class Orgs(Protocol):
    """The orgs whose log this node tells on."""

    async def open_org(self, org_id: str) -> None: ...
    async def reach(self, org_id: str) -> None: ...
    def keep_orgs(self, here: AbstractSet[str]) -> None: ...


class Members:
    """Loads members for connections, and applies what participant events say of them."""

    def __init__(self, hub: Hub, store: Store, bus: Bus) -> None:
        self._hub = hub
        self._store = store
        self._bus = bus
        self._orgs: Orgs | None = None
        self._loading: dict[tuple[str, str], _Loading] = {}
        self._queue: list[tuple[str, str]] = []
        self._idle: dict[Member, int | None] = {}
        self._tasks = Tasks()
        self._task: asyncio.Task[None] | None = None

    def watch_orgs(self, orgs: Orgs) -> None:
        """Who is told which orgs have members here."""
        self._orgs = orgs

    def has(self, org_id: str, user_id: str) -> bool:
        """Whether what brings the user into a conversation matters here."""
        key = (org_id, user_id)
        return key in self._hub.members or key in self._loading

    def want(
        self,
        org_id: str,
        user_id: str,
        ready: Ready,
    ) -> None:
        """Call `ready(member, error)`: at once if the user is known here, else when read."""
        member = self._hub.members.get((org_id, user_id))
        if member is not None:
            ready(member, None)
            return
        key = (org_id, user_id)
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = _Loading()
            self._queue.append(key)
            if self._task is None or self._task.done():
                self._task = self._tasks.start(self._load())
        loading.ready.append(ready)

    async def get(self, org_id: str, user_id: str) -> Member:
        """The member, read if need be. Raises `Unavailable`."""
        future: asyncio.Future[Member] = asyncio.get_running_loop().create_future()

        def ready(member: Member | None, error: MadangError | None) -> None:
            if future.done():
                return
            if member is not None:
                future.set_result(member)
            else:
                future.set_exception(error or Unavailable())

        self.want(org_id, user_id, ready)
        return await future

    async def close(self) -> None:
        """End what is being read."""
        await self._tasks.close()

    async def _load(self) -> None:
        while self._queue:
            org_id = self._queue[0][0]
            batch = [key for key in self._queue if key[0] == org_id][:LOAD_BATCH]
            chosen = set(batch)
            self._queue = [key for key in self._queue if key not in chosen]
            try:
                assert self._orgs is not None, "delivery watches before anybody comes"
                await self._orgs.open_org(org_id)
                for _, user_id in batch:
                    self._bus.follow_user(org_id, user_id)
                since = self._hub.heads[org_id]
                found = await self._store.memberships(org_id, [user for _, user in batch])
                # Whoever was removed just before the read is owed what came before that: all of
                # it is told before they are here.
                await self._orgs.reach(org_id)
            except Exception as failure:
                error = failure if isinstance(failure, MadangError) else Unavailable()
                if error is not failure:
                    log.exception("memberships could not be read")
                for key in batch:
                    self._bus.unfollow_user(*key)
                    _call(self._loading.pop(key).ready, None, error)
                continue
            for key in batch:
                self._loaded(key, found.get(key[1], []), since)

    def _loaded(self, key: tuple[str, str], conversation_ids: list[str], since: int) -> None:
        loading = self._loading.pop(key)
        member = Member(*key, since)
        self._hub.members[key] = member
        for conversation_id in conversation_ids:
            self._hub.join(member, conversation_id)
        for conversation_id, entered in loading.changes:
            if entered:
                self._hub.join(member, conversation_id)
            else:
                self._hub.leave(member, conversation_id)
        self._idle[member] = None
        _call(loading.ready, member, None)

    # What participant events say.

    def entered(self, event: Event, user_id: str) -> None:
        """From this event on the user hears the conversation."""
        key = (event.org_id, user_id)
        member = self._hub.members.get(key)
        if member is not None:
            if not _left_since(member, event):
                self._hub.join(member, event.conversation_id)
        elif key in self._loading:
            self._loading[key].changes.append((event.conversation_id, True))

    def left(self, event: Event, user_id: str, outgoing: Outgoing | None) -> None:
        """This event is the last of the conversation that the user hears."""
        key = (event.org_id, user_id)
        member = self._hub.members.get(key)
        if member is not None:
            if outgoing is not None:
                member.departed = (*member.departed[-MOST_DEPARTED + 1 :], outgoing)
                if len(member.departed) == MOST_DEPARTED:
                    forgotten = member.departed[0].event
                    assert forgotten is not None, "only events end a membership"
                    member.since = max(member.since, forgotten.cursor - 1)
            self._hub.leave(member, event.conversation_id)
            for beside in self._hub.beside_in(member, event.conversation_id):
                # What it was there for has ended.
                self._hub.leave(beside, event.conversation_id)
                for connection in beside.connections:
                    connection.close(CloseCode.ACCESS_REMOVED, "Access removed")
        elif key in self._loading:
            self._loading[key].changes.append((event.conversation_id, False))

    # Forgetting.

    def idle(self, member: Member, now: int) -> None:
        """The member's last connection is gone (`now` in seconds)."""
        self._idle.pop(member, None)
        self._idle[member] = now

    def sweep(self, now: int) -> None:
        """Forget members that have had no connection for a while."""
        for member, since in list(self._idle.items()):
            if member.connections or member.beside:
                del self._idle[member]
            elif since is None:
                self._idle[member] = now
            elif now - since > KEEP_SECONDS:
                del self._idle[member]
                self._hub.forget(member)
                self._bus.unfollow_user(member.org_id, member.user_id)
        if self._orgs is not None:
            self._orgs.keep_orgs({org_id for org_id, _ in (*self._hub.members, *self._loading)})


def _call(ready: Sequence[Ready], member: Member | None, error: MadangError | None) -> None:
    """Tell all who wait. What one of them does wrong must not keep the others waiting."""
    for tell in ready:
        try:
            tell(member, error)
        except Exception:
            log.exception("a loaded member was not taken")


def _left_since(member: Member, event: Event) -> bool:
    """Whether the user left again after this event, which then comes late or again."""
    return any(
        left.event is not None
        and left.conversation_id == event.conversation_id
        and left.event.cursor > event.cursor
        for left in member.departed
    )
