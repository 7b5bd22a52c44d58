"""What a node follows: which channels, and what the servers have been asked for of them."""

from __future__ import annotations

from collections.abc import Iterable

from madang.bus.redis_link import Link, packed
from madang.bus.redis_servers import Servers, slot_of

CHANNELS_A_COMMAND = 500
CHANNELS_AT_ONCE = 20_000
"""Followed again before it is confirmed: a server closes a subscriber with megabytes unread."""


class Following:
    """Channels by name. Changes are gathered, and `send` asks for what they come to."""

    def __init__(self) -> None:
        self._followed: dict[bytes, frozenset[str] | None] = {}
        # A million users of an org share one set.
        self._alone: dict[str, frozenset[str]] = {}
        self._asked: set[bytes] = set()
        self._changed: dict[bytes, None] = {}
        # Of a cluster: channels we let go, until it says so. What it says unasked is its own doing.
        self._ending: dict[bytes, int] = {}

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._followed

    def __len__(self) -> int:
        return len(self._followed)

    def heeds(self, channel: bytes, org_id: str) -> bool:
        """Whether what the org tells on the channel is followed."""
        orgs = self._followed.get(channel)
        return orgs is None or org_id in orgs

    def follow(self, channel: bytes, org_id: str | None = None) -> None:
        """Follow a channel, or on one that orgs share what this one tells."""
        if channel not in self._followed:
            self._followed[channel] = None if org_id is None else self._only(org_id)
            self._changed[channel] = None
        elif org_id is not None and (orgs := self._followed[channel]) is not None:
            self._followed[channel] = orgs | {org_id}

    def _only(self, org_id: str) -> frozenset[str]:
        return self._alone.setdefault(org_id, frozenset((org_id,)))

    def unfollow(self, channel: bytes, org_id: str | None = None) -> None:
        if channel not in self._followed:
            return
        orgs = self._followed[channel]
        if orgs is not None and org_id is not None and (left := orgs - {org_id}):
            self._followed[channel] = left
            return
        del self._followed[channel]
        self._changed[channel] = None

    def let_go(self, channel: bytes) -> bool:
        """A server says that a channel is no longer heard on it; whether that was asked for."""
        ending = self._ending.pop(channel, 0)
        if ending > 1:
            self._ending[channel] = ending - 1
        return ending > 0 or channel not in self._asked

    async def again(self, servers: Servers) -> None:
        """Follow everything on new servers. Returns when that is confirmed.

        Raises:
            Unavailable: they are lost again.
        """
        self._asked.clear()
        self._ending.clear()
        channels = list(self._followed)
        for start in range(0, len(channels), CHANNELS_AT_ONCE):
            self._changed.update(dict.fromkeys(channels[start : start + CHANNELS_AT_ONCE]))
            self.send(servers)
            await servers.fence()
        self.send(servers)
        await servers.fence()

    def send(self, servers: Servers | None) -> None:
        """Ask for what is followed and was not asked for, and the other way round: one write to
        each server. Without servers it is forgotten: `again` asks for everything."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        if servers is None:
            return
        begun = [one for one in changed if one in self._followed and one not in self._asked]
        ended = [one for one in changed if one not in self._followed and one in self._asked]
        self._asked.update(begun)
        self._asked.difference_update(ended)
        if servers.sharded:
            for channel in ended:
                self._ending[channel] = self._ending.get(channel, 0) + 1
        sent: dict[Link, list[bytes]] = {}
        for channels, name in ((begun, "SUBSCRIBE"), (ended, "UNSUBSCRIBE")):
            for group in _groups(channels, servers.sharded):
                commands = sent.setdefault(servers.of(group[0]).hear, [])
                for start in range(0, len(group), CHANNELS_A_COMMAND):
                    part = group[start : start + CHANNELS_A_COMMAND]
                    commands.append(packed(("S" + name if servers.sharded else name, *part)))
        for link, commands in sent.items():
            link.send(b"".join(commands))


def _groups(channels: list[bytes], sharded: bool) -> Iterable[list[bytes]]:
    """Channels that one command may name: on a cluster those of one slot."""
    if not sharded:
        return [channels] if channels else []
    slots: dict[int, list[bytes]] = {}
    for channel in channels:
        slots.setdefault(slot_of(channel), []).append(channel)
    return slots.values()
