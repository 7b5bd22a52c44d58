"""Who may do what in a room, inside a commit. A room or a seat that one may not know of answers
exactly as what does not exist."""

from __future__ import annotations

from madang.model.live import Room, Seat
from madang.ports.store import Transaction
from madang.protocol.errors import Conflict, Forbidden, NotFound

ENDED = "Session has ended"


def room(tx: Transaction, conversation_id: str) -> Room:
    """Raises:
    NotFound: there is no such room.
    """
    found = tx.live.room(conversation_id)
    if found is None:
        raise NotFound("Session not found")
    return found


def seated(tx: Transaction, conversation_id: str, participant_id: str) -> tuple[Room, Seat]:
    """The room and the seat of somebody who sits in it.

    Raises:
        NotFound: there is no such room or seat, or whoever had it was sent away.
    """
    found = room(tx, conversation_id)
    seat = tx.live.seat(conversation_id, participant_id)
    if seat is None or seat.gone is not None:
        raise NotFound("Participant not found")
    return found, seat


def writing(tx: Transaction, conversation_id: str, participant_id: str) -> tuple[Room, Seat]:
    """As `seated`, of a room that has not ended; only hosts write in one that is paused.

    Raises:
        Conflict: it has ended or is paused.
    """
    found, seat = seated(tx, conversation_id, participant_id)
    check_running(found)
    if found.status == "paused" and not seat.is_host:
        raise Conflict("Session is paused")
    return found, seat


def speaking(tx: Transaction, conversation_id: str, participant_id: str) -> tuple[Room, Seat]:
    """As `writing`, for somebody who is not muted."""
    found, seat = writing(tx, conversation_id, participant_id)
    if seat.muted:
        raise Forbidden("You are muted")
    return found, seat


def hosting(
    tx: Transaction, conversation_id: str, participant_id: str, *, ended: bool = False
) -> tuple[Room, Seat]:
    """As `seated`, for hosts; of a room that has not ended, unless it may be `ended`.

    Raises:
        Forbidden: it is a participant's seat.
        Conflict: it has ended.
    """
    found, seat = seated(tx, conversation_id, participant_id)
    if not seat.is_host:
        raise Forbidden("Only a host can do this")
    if not ended:
        check_running(found)
    return found, seat


def check_running(room: Room) -> None:
    if room.status == "ended":
        raise Conflict(ENDED)
