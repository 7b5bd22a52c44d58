"""In and out: the same steps for every surface, from a fresh connection to one that is attached to
its user, and from there to one that is gone.

In: token, identity, the member with their conversations, a place in the hub and in presence. What
a client sends before that is done waits in order. Out: each of these in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from madang import logs
from madang.clock import Clock
from madang.delivery.catchup import Catchup
from madang.delivery.members import Members
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.hub import Hub, Member
from madang.model.identity import DEFAULT_ORG, Identity
from madang.model.ids import is_user_id
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError, RateLimited, Unavailable
from madang.services.auth import AuthError, TokenVerifier
from madang.services.live.impostors import Impostors
from madang.surfaces.unheard import Unheard
from madang.tasks import Tasks

log = logs.get_logger(__name__)

FOREVER = 2**62
SEES_WHOLE_ORG = frozenset(("admin", "service"))
"""Roles whose tokens may read every event of their org."""


class Admission:
    """Lets connections in and out.

    Args:
        dev: whether a user may be named without a token, as `madang serve --dev` allows.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        impostors: Impostors,
        members: Members,
        hub: Hub,
        catchup: Catchup,
        presence: Presence,
        entrance: Entrance,
        clock: Clock,
        *,
        dev: bool,
    ) -> None:
        self.verifier = verifier
        self._impostors = impostors
        self._members = members
        self._hub = hub
        self._catchup = catchup
        self._presence = presence
        self._entrance = entrance
        self._clock = clock
        self._dev = dev
        self._early: dict[Connection, Unheard[str]] = {}
        self._tasks = Tasks()
        self._unknown_at = 0

    def unknown(self, kind: str) -> None:
        """A frame of a type that nobody knows: logged, once a second at most, and not answered."""
        if self._unknown_at != self._entrance.now:
            self._unknown_at = self._entrance.now
            log.info("unknown frame type", type=kind[:100])

    def admit(
        self,
        connection: Connection,
        upgrade: Upgrade,
        claimed: str | None,
        welcome: Callable[[Connection, Member], None],
        received: Callable[[Connection, str], None],
        *,
        whole_org: bool = False,
        beside: bool = False,
    ) -> None:
        """Attach the connection to its user and call `welcome`, or close it with 1008.

        Args:
            claimed: the user id in the path, which a token must agree with.
            received: called after `welcome` with what the client sent before.
            whole_org: it gets every event of its org, if its token may, instead of its user's.
            beside: it gets what it is made to join: one conversation, instead of its user's all.
        """
        self._early[connection] = Unheard()
        token = upgrade.token

        def identified(identity: Identity) -> None:
            if claimed is not None and identity.user_id != claimed:
                self._refuse(connection, "Token is for another user")
                return
            if whole_org and not identity.roles & SEES_WHOLE_ORG:
                self._refuse(connection, "scope=org needs an admin's token")
                return

            def known() -> None:
                self._identified(
                    connection, identity, welcome, received, whole_org=whole_org, beside=beside
                )

            if self._impostors.may_be_one(identity.org, identity.user_id):
                self.start(connection, self._no_impostor(connection, identity, known))
            else:
                known()

        if token is None:
            if self._dev and claimed is not None and is_user_id(claimed):
                identified(Identity(claimed, DEFAULT_ORG, None, None, frozenset(), FOREVER))
            else:
                self._refuse(connection, "Missing token")
        elif self.verifier.source is None:
            try:
                identity = self.verifier.verify(token, self._clock.now())
            except AuthError as error:
                self._not_valid(connection, error)
            else:
                identified(identity)
        else:
            self.start(connection, self._authenticate(connection, token, identified))

    def admit_known(
        self,
        connection: Connection,
        identify: Coroutine[Any, Any, Identity],
        welcome: Callable[[Connection, Member], None],
        received: Callable[[Connection, str], None],
    ) -> None:
        """As `admit`, of somebody whose token is a surface's own: `identify` says who it is, or
        raises `MadangError`, whose text is the reason that the connection is closed with."""
        self._early[connection] = Unheard()

        async def known() -> None:
            try:
                identity = await identify
            except MadangError as error:
                self._turn_away(connection, error)
            else:
                if connection.open:
                    self._identified(connection, identity, welcome, received)

        self.start(connection, known())

    def _identified(
        self,
        connection: Connection,
        identity: Identity,
        welcome: Callable[[Connection, Member], None],
        received: Callable[[Connection, str], None],
        *,
        whole_org: bool = False,
        beside: bool = False,
    ) -> None:
        connection.identity = identity

        def ready(member: Member | None, error: MadangError | None) -> None:
            early = self._early.pop(connection, None)
            if early is None or not connection.open:
                return
            if member is None:
                connection.close(CloseCode.TRY_LATER, error.text if error else "")
                return
            try:
                self.enter(connection, member, whole_org=whole_org, beside=beside)
                welcome(connection, member)
                for text in early.hear(connection):
                    received(connection, text)
            except Exception:
                # Others are waiting behind this one in the same batch.
                failed(connection, "a connection was not welcomed")

        self._members.want(identity.org, identity.user_id, ready)

    def enter(
        self,
        connection: Connection,
        member: Member,
        *,
        whole_org: bool = False,
        beside: bool = False,
    ) -> None:
        """Attach it. It counts as one of its user's devices, whichever surface it speaks; not so
        if it reads the whole org, which is a backend's work and nobody's presence, or watches one
        conversation only."""
        if beside:
            self._hub.attach_beside(member, connection)
            return
        self._hub.attach(member, connection)
        if whole_org:
            self._hub.follow_org(connection)
        else:
            self._presence.opened(member)

    def leave(
        self, connection: Connection, grace: float | None = None, *, remembers: bool = True
    ) -> None:
        """The connection is gone, wherever on its way in it was. `grace` and `remembers` as in
        `Presence.closed`."""
        self._early.pop(connection, None)
        self._catchup.forget(connection)
        member = connection.member
        if member is None:
            return
        self._hub.detach(connection)
        user = self._hub.members.get((member.org_id, member.user_id))
        if user is not member:
            # One that follows the org, or one conversation, stands beside its user, who may well
            # be here.
            if user is not None and not user.connections and not user.beside:
                self._members.idle(user, self._entrance.now)
            return
        self._presence.closed(member, grace, remembers=remembers)
        if not member.connections:
            self._members.idle(member, self._entrance.now)

    def wait(self, connection: Connection, text: str) -> None:
        """The client sent something before it was attached."""
        early = self._early.get(connection)
        if early is not None:
            early.keep(connection, text, len(text))

    def start(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        """Run what a connection waits for. If it fails unexpectedly the connection is closed:
        left open it would wait for ever."""
        self._tasks.start(self._guarded(connection, work))

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    async def _guarded(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            failed(connection, "work for a connection failed")

    def _turn_away(self, connection: Connection, error: MadangError) -> None:
        """For good, or until it may try again."""
        if isinstance(error, (Unavailable, RateLimited)):
            self._early.pop(connection, None)
            connection.close(CloseCode.TRY_LATER, error.text)
        else:
            self._refuse(connection, error.text)

    async def _no_impostor(
        self, connection: Connection, identity: Identity, known: Callable[[], None]
    ) -> None:
        try:
            await self._impostors.check(identity.org, identity.user_id)
        except MadangError as error:
            self._turn_away(connection, error)
        else:
            if connection.open:
                known()

    async def _authenticate(
        self, connection: Connection, token: str, identified: Callable[[Identity], None]
    ) -> None:
        try:
            identity = await self.verifier.authenticate(token, self._clock.now())
        except AuthError as error:
            self._not_valid(connection, error)
        except MadangError as error:
            connection.close(CloseCode.TRY_LATER, error.text)
        else:
            if connection.open:
                identified(identity)

    def _not_valid(self, connection: Connection, error: AuthError) -> None:
        log.info("token refused", reason=error.reason)
        self._refuse(connection, error.text)

    def _refuse(self, connection: Connection, reason: str) -> None:
        self._early.pop(connection, None)
        connection.close(CloseCode.NOT_ALLOWED, reason)


def failed(connection: Connection, what: str) -> None:
    """Call it while handling an unexpected error: it is logged, and the client, of whose request
    nobody knows how far it came, is sent away to come back and catch up."""
    log.exception(what)
    connection.close(CloseCode.INTERNAL, "Internal error")
