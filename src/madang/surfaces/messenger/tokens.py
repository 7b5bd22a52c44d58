"""`token.refresh`: a connection lives on with a new token of the same user."""

from __future__ import annotations

from madang.clock import Clock
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.model.times import LATEST, MICROSECONDS, iso
from madang.protocol.errors import MadangError
from madang.services.auth import AuthError
from madang.surfaces import objects
from madang.surfaces.admission import Admission
from madang.surfaces.messenger import commands


class TokenRefresh:
    """Runs beside the connection's other frames: a key may have to be fetched first."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock

    def refresh(self, connection: Connection, command: commands.TokenRefresh) -> None:
        self._admission.start(connection, self._refreshed(connection, command))

    async def _refreshed(self, connection: Connection, command: commands.TokenRefresh) -> None:
        member = connection.member
        if member is None:
            return
        try:
            identity = await self._admission.verifier.authenticate(command.token, self._clock.now())
            if (identity.org, identity.user_id) != (member.org_id, member.user_id):
                raise AuthError("Invalid token", "another user's")
        except MadangError as problem:
            connection.write(Frame(objects.error(problem, command.id)))
            return
        connection.identity = identity
        expires_at = iso(min(identity.expires_at * MICROSECONDS, LATEST))
        connection.write(Frame(objects.frame("token.refreshed", command.id, expires_at=expires_at)))
