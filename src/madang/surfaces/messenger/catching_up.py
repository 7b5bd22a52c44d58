"""What a messenger client says about where it stands, and what it is answered: `resume`,
`subscribe`, `unsubscribe`."""

from __future__ import annotations

from typing import Any

from madang.delivery.catchup import CaughtUp
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.model.times import cursor_of
from madang.protocol.errors import MadangError, NotAParticipant
from madang.surfaces import objects
from madang.surfaces.messenger import commands
from madang.surfaces.resuming import Resuming


class CatchingUp(Resuming):
    """Resumes and subscriptions."""

    def resume(self, connection: Connection, command: commands.Resume) -> None:
        self.resume_after(connection, cursor_of(command.cursor), command.epoch, command.id)

    def subscribe(self, connection: Connection, command: commands.Subscribe) -> None:
        reply_to, conversation_id = command.id, command.conversation_id

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"seq": caught.seq, "recovered": caught.recovered}
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(
                Frame(
                    objects.frame("subscribed", reply_to, conversation_id=conversation_id, **told)
                )
            )

        def failed(problem: MadangError) -> None:
            connection.write(Frame(objects.error(problem, reply_to)))

        self._catchup.subscribe(connection, conversation_id, command.after, ended, failed)

    def unsubscribe(self, connection: Connection, command: commands.Unsubscribe) -> None:
        conversation_id = command.conversation_id
        member = connection.member
        if member is None or not self._hub.is_in(member, conversation_id):
            raise NotAParticipant
        self._hub.flush()
        connection.mute(conversation_id)
        told = objects.frame("unsubscribed", command.id, conversation_id=conversation_id)
        connection.write(Frame(told))
