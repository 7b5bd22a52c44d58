"""From a fresh WebSocket connection to an attached one: the same steps for every surface.

Token, identity, the member with their conversations, a place in the hub. What the client sends
before that is done waits in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from madang.clock import Clock
from madang.delivery.members import Members
from madang.gateways.entrance import Upgrade
from madang.hub.connection import Connection
from madang.hub.hub import Hub, Member
from madang.model.identity import DEFAULT_ORG, Identity
from madang.model.ids import is_user_id
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError
from madang.services.auth import AuthError, TokenVerifier

log = structlog.get_logger(__name__)

MOST_EARLY = 64
"""Frames a client may send before it was told that it is connected."""
FOREVER = 2**62


class Admission:
    """Admits connections.

    Args:
        dev: whether a user may be named without a token, as `madang serve --dev` allows.
    """

    def __init__(
        self, verifier: TokenVerifier, members: Members, hub: Hub, clock: Clock, *, dev: bool
    ) -> None:
        self.verifier = verifier
        self._members = members
        self._hub = hub
        self._clock = clock
        self._dev = dev
        self._early: dict[Connection, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def admit(
        self,
        connection: Connection,
        upgrade: Upgrade,
        claimed: str | None,
        welcome: Callable[[Connection, Member], None],
        received: Callable[[Connection, str], None],
    ) -> None:
        """Attach the connection to its user and call `welcome`, or close it with 1008.

        Args:
            claimed: the user id in the path, which a token must agree with.
            received: called after `welcome` with what the client sent before.
        """
        self._early[connection] = []
        token = upgrade.token

        def enter(identity: Identity) -> None:
            if claimed is not None and identity.user_id != claimed:
                self._refuse(connection, "Token is for another user")
                return
            connection.identity = identity
            self._members.want(identity.org, identity.user_id, ready)

        def ready(member: Member | None, error: MadangError | None) -> None:
            early = self._early.pop(connection, None)
            if early is None or not connection.open:
                return
            if member is None:
                connection.close(CloseCode.TRY_LATER, error.text if error else "")
                return
            self._hub.attach(member, connection)
            welcome(connection, member)
            for text in early:
                received(connection, text)

        if token is None:
            if self._dev and claimed is not None and is_user_id(claimed):
                enter(Identity(claimed, DEFAULT_ORG, None, None, frozenset(), FOREVER))
            else:
                self._refuse(connection, "Missing token")
        elif self.verifier.source is None:
            try:
                identity = self.verifier.verify(token, self._clock.now())
            except AuthError as error:
                self._not_valid(connection, error)
            else:
                enter(identity)
        else:
            self._start(self._authenticate(connection, token, enter))

    def wait(self, connection: Connection, text: str) -> None:
        """The client sent something before it was attached."""
        early = self._early.get(connection)
        if early is not None:
            if len(early) >= MOST_EARLY:
                connection.close(CloseCode.NOT_ALLOWED, "Too many frames before connected")
            early.append(text)

    def forget(self, connection: Connection) -> None:
        self._early.pop(connection, None)

    async def _authenticate(
        self, connection: Connection, token: str, enter: Callable[[Identity], None]
    ) -> None:
        try:
            identity = await self.verifier.authenticate(token, self._clock.now())
        except AuthError as error:
            self._not_valid(connection, error)
        else:
            if connection.open:
                enter(identity)

    def _not_valid(self, connection: Connection, error: AuthError) -> None:
        log.info("token refused", reason=error.reason)
        self._refuse(connection, error.text)

    def _refuse(self, connection: Connection, reason: str) -> None:
        self._early.pop(connection, None)
        connection.close(CloseCode.NOT_ALLOWED, reason)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
