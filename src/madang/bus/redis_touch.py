"""Being in touch with the servers: noticing that it is lost, and getting it back."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from madang import logs
from madang.bus.address import Address
from madang.bus.redis_link import Refused
from madang.bus.redis_servers import Doors, Servers
from madang.clock import Clock
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 1.0
STEADY_SECONDS = 5.0
"""Who loses touch sooner than this after getting it waits longer each time: a server that takes us
in and throws us out must not have every node heal from the store twenty times a second."""

PING_SECONDS = 1.5
MISSED_PINGS = 2
"""A server that says nothing for so many pings is lost: after 3 to 4.5 s. Two, because the first
may be missed by a loop that stood still and looks at its clock before its sockets."""

_ELSEWHERE = ("MOVED", "ASK", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING")
"""Errors that say that the servers are not what they were."""


class Touch:
    """The servers while they are all in reach.

    Args:
        address: the server to start from.
        scripts: as for `Doors`.
        clock: the time, and waiting for it.
        pushed: called with each push.
        back: does on new servers what was done on the old ones; `Unavailable` means: try again.
        lost_touch, in_touch: called once each time.
    """

    def __init__(
        self,
        address: Address,
        scripts: list[str],
        clock: Clock,
        pushed: Callable[[list[Any]], None],
        back: Callable[[Servers], Awaitable[None]],
        lost_touch: Callable[[], None],
        in_touch: Callable[[], None],
    ) -> None:
        self.doors = Doors(address, scripts, pushed, self.lost, self.complained)
        self.servers: Servers | None = None
        """Those there are, though what is followed may not be followed on them yet."""
        self.reconnects = 0
        self.refused = 0
        """Commands that nobody waits for and that servers refused."""
        self._address = address
        self._clock = clock
        self._back = back
        self._lost_touch = lost_touch
        self._in_touch = in_touch
        self._here = False
        self._since = 0.0
        self._complaint = ""
        self._parted = asyncio.Event()
        self._tasks = Tasks()

    @property
    def away(self) -> bool:
        return not self._here

    @property
    def reach(self) -> Servers | None:
        """The servers, unless away."""
        return self.servers if self._here else None

    async def start(self) -> None:
        """Get in touch, and stay it.

        Raises:
            Unavailable: nobody is there, or not as needed; the text says what to do.
        """
        try:
            self.servers = await self.doors.open()
        except Refused as error:
            raise Unavailable(_refusal(str(self._address), str(error))) from None
        except ssl.SSLCertVerificationError as error:
            raise Unavailable(
                f"The certificate of the server at {self._address} is not to be trusted "
                f"({error.verify_message}): name who vouches for it in the URL, ?ssl_ca_certs=FILE"
            ) from None
        except (OSError, TimeoutError, Unavailable) as error:
            raise Unavailable(
                f"No Redis or Valkey answers at {self._address}: start one there, "
                "or give the bus URL of one that runs"
            ) from error
        self._here = True
        self._since = self._clock.monotonic()
        self._tasks.start(self._stay(), "bus: stay in touch")
        self._tasks.start(self._ping(), "bus: ping")

    async def rest(self) -> None:
        """Stop looking after it: what is lost from now on stays lost."""
        await self._tasks.close()

    async def close(self) -> None:
        """Let go of it. Returns when every socket is closed."""
        await self.rest()
        servers, self.servers = self.servers, None
        self._here = False
        if servers is not None:
            servers.close()
            await servers.closed()

    def lost(self, why: str) -> None:
        """A part of it is lost: all of it is. Called on the loop, from anywhere."""
        servers, self.servers = self.servers, None
        if servers is None:
            return
        servers.close()
        self._parted.set()
        if self._here:
            self._here = False
            log.warning("the bus is away", why=why)
            self._lost_touch()

    def complained(self, words: str) -> None:
        """A server refused something."""
        if words.startswith(_ELSEWHERE):
            self.lost(words)
            return
        self.refused += 1
        code = words.split(" ", 1)[0]
        if code != self._complaint:  # Said once: there may be thousands.
            self._complaint = code
            log.error("the bus refused", words=words)

    async def _stay(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while True:
            await self._parted.wait()
            self._parted.clear()
            if self._clock.monotonic() - self._since >= STEADY_SECONDS:
                wait = FIRST_RETRY_SECONDS
            while True:
                # Jittered: nodes that lost it together do not come back together.
                await self._clock.sleep(wait * random.random())
                wait = min(wait * 2, LONGEST_RETRY_SECONDS)
                if await self._again():
                    break

    async def _again(self) -> bool:
        """Connect and have everything as it was; whether that went well."""
        try:
            servers = await self.doors.open()
        except (OSError, TimeoutError, Unavailable, Refused):
            return False
        except Exception:
            # Whatever it is that answers there: the next try may find something else.
            log.exception("the bus could not be opened")
            return False
        self.servers = servers
        if not all(link.open for link in servers.links):
            self.lost("lost again while it came back")
            return False
        try:
            await self._back(servers)
        except Unavailable:
            return False
        if self.servers is not servers:
            return False
        self._parted.clear()  # What parted meanwhile were forerunners of these.
        self._here = True
        self._since = self._clock.monotonic()
        self._complaint = ""
        self.reconnects += 1
        log.info("the bus is back")
        self._in_touch()
        return True

    async def _ping(self) -> None:
        while True:
            await self._clock.sleep(PING_SECONDS)
            servers = self.servers
            for link in servers.links if servers is not None else ():
                if link.missed >= MISSED_PINGS:
                    self.lost(f"{link.address} does not answer")
                    break
                link.ping()


def _refusal(where: str, words: str) -> str:
    """What to do about a server's refusal: one sentence."""
    code = words.split(" ", 1)[0]
    if code in ("NOAUTH", "WRONGPASS"):
        return f"The server at {where} asks for another password: write it into the bus URL"
    if code == "NOPERM":
        return (
            f"The server at {where} does not allow this user what a bus needs: give it the "
            "commands, keys and channels under the prefix (ACL SETUSER … ~madang:* &madang:* +@all)"
        )
    if code == "READONLY":
        return f"The server at {where} is a replica: give the bus URL of its primary"
    if code in ("LOADING", "CLUSTERDOWN", "MASTERDOWN"):
        return f"The server at {where} is not ready ({code}): try again when it is"
    return (
        f"The server at {where} cannot be the bus, it must be Valkey or Redis 7 or newer: {words}"
    )
