"""A live room's rows inside one commit (`ports.room_rows`): read with one query a kind, changed in
memory, written with one statement a table and kind of change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import Connection

from madang.model.live import Room, Seat, voter_of
from madang.model.nouns import Message
from madang.ports.room_rows import Crowd, LiveNeeds
from madang.store import bulk
from madang.store import room_forms as forms
from madang.store.erasing import erase
from madang.store.queries.reading import fetch, rows_query
from madang.store.question_rows import ID_LENGTH, WANTED, Place, QuestionRows
from madang.store.tables import room_codes, rooms, seats

_NUMBER_LENGTH = 6
_WANTED_NAMES = (
    "WITH wanted (conversation_id, number, skeleton) AS MATERIALIZED ("
    f"SELECT substr(i.value, 1, {ID_LENGTH}), "
    f"CAST(substr(i.value, {ID_LENGTH + 1}, {_NUMBER_LENGTH}) AS INTEGER), "
    f"substr(i.value, {ID_LENGTH + _NUMBER_LENGTH + 1}) FROM EACH(:places) AS i) "
)
_OF_NAME = "FROM seats AS s WHERE s.conversation_id = w.conversation_id AND s.skeleton = w.skeleton"
_OF_ROOM = "FROM seats AS s WHERE s.conversation_id = w.conversation_id"
# Of the numbers taken from one on: the first, the last that follows without a gap, and the next.
_RUNS = rows_query(
    "w.conversation_id, w.number, w.skeleton, "
    f"(SELECT s.number {_OF_NAME} AND s.number >= w.number ORDER BY s.number LIMIT 1), "
    "w.ending, "
    f"(SELECT s.number {_OF_NAME} AND s.number > w.ending ORDER BY s.number LIMIT 1)",
    "FROM (SELECT w.conversation_id, w.number, w.skeleton, "
    f"(SELECT s.number {_OF_NAME} AND s.number >= w.number AND NOT EXISTS "
    "(SELECT 1 FROM seats AS t WHERE t.conversation_id = s.conversation_id "
    "AND t.skeleton = s.skeleton AND t.number = s.number + 1) "
    "ORDER BY s.number LIMIT 1) AS ending FROM wanted AS w) AS w LIMIT -1",
    before=_WANTED_NAMES,
    lists=["places"],
)
_CROWDS = {
    column: rows_query(
        "w.conversation_id, w.value, "
        f"(SELECT count(*) {_OF_ROOM} AND s.{column} = w.value AND s.gone IS NULL), "
        f"(SELECT count(*) {_OF_ROOM} AND s.{column} = w.value AND s.gone = 'banned'), "
        f"(SELECT count(*) {_OF_ROOM} AND s.{column} = w.value AND s.gone IS NULL AND s.muted = 1)",
        "FROM wanted AS w LIMIT -1",
        before=WANTED,
        lists=["places"],
    )
    for column in ("address", "device")
}
_ROOM = tuple(column.name for column in rooms.columns)[3:]
_SEAT = tuple(column.name for column in seats.columns)[3:]


class LiveRows(QuestionRows):
    """Maps of what was read, None where nothing was found; changes go into the same maps."""

    def __init__(
        self, connection: Connection, org_id: str, current: Callable[[Message], Message]
    ) -> None:
        """`current` gives a message that was read as it is in this commit."""
        super().__init__(connection, org_id, current)
        self._rooms: dict[str, Room | None] = {}
        self._read_rooms: dict[str, Room] = {}
        self._new_rooms: dict[str, None] = {}
        self._erased: dict[str, Room] = {}
        self._seats: dict[Place, Seat | None] = {}
        self._read_seats: dict[Place, Seat | None] = {}
        """Those that are changed, as they were: None for new ones."""
        self._devices: set[Place] = set()
        """Those whose seats are all in `_seats`."""
        self._keys: dict[Place, str | None] = {}
        self._names: dict[tuple[str, str, int], bool] = {}
        self._runs: dict[tuple[str, str, int], tuple[int, int | None]] = {}
        """After this number: the last that is taken before any that is free, and the next taken
        one."""
        self._crowds: dict[str, dict[Place, list[int]]] = {"address": {}, "device": {}}
        """[seats, banned ones, muted ones]"""

    # Reading.

    def prefetch(self, needs: LiveNeeds) -> None:
        """Read what the batch has announced."""
        if not needs.rooms:
            return
        self._load_rooms(needs.rooms)
        self._load_seats(needs.seats)
        together = map(self._seats.get, needs.together)
        self._load_devices(
            {(seat.conversation_id, seat.device) for seat in together if seat and seat.device}
        )
        self._load_keys(needs.keys)
        self._load_names(needs.names)
        self._load_runs(needs.names)
        self._load_crowds("address", needs.addresses)
        self._load_crowds("device", needs.devices)
        self.load_asked(needs.askers)
        self.load_votes({(message, person) for _, message, person in needs.votes})
        voting: set[Place] = set()
        for conversation_id, message_id, participant_id in needs.votes:
            room = self._rooms.get(conversation_id)
            seat = self._seats.get((conversation_id, participant_id))
            if room is not None and seat is not None:
                voter = voter_of(room, seat)
                if voter is not None:
                    voting.add((message_id, voter))
        self.load_voters(voting)

    def _load_rooms(self, ids: Iterable[str]) -> None:
        wanted = [(i,) for i in ids if i not in self._rooms]
        self._rooms.update((i, None) for (i,) in wanted)
        for row in bulk.select(self._connection, rooms, ("conversation_id",), wanted):
            if row[1] == self._org_id:
                self._rooms[row[0]] = self._read_rooms[row[0]] = forms.room_of(row)

    def _load_seats(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._seats]
        self._seats.update((place, None) for place in wanted)
        keys = ("conversation_id", "participant_id")
        for row in bulk.select(self._connection, seats, keys, wanted):
            if row[2] == self._org_id:
                self._seats[row[0], row[1]] = forms.seat_of(row)

    def _load_devices(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._devices]
        self._devices.update(wanted)
        keys = ("conversation_id", "device")
        for row in bulk.select(self._connection, seats, keys, wanted):
            if row[2] == self._org_id:
                self._seats.setdefault((row[0], row[1]), forms.seat_of(row))

    def _load_keys(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._keys]
        self._keys.update((place, None) for place in wanted)
        for row in bulk.select(self._connection, seats, ("conversation_id", "key"), wanted):
            if row[2] == self._org_id:
                seat = forms.seat_of(row)
                self._keys[seat.conversation_id, seat.key] = seat.participant_id
                self._seats.setdefault((seat.conversation_id, seat.participant_id), seat)

    def _load_names(self, names: Iterable[tuple[str, str, int]]) -> None:
        wanted = [name for name in names if name not in self._names]
        self._names.update((name, False) for name in wanted)
        keys = ("conversation_id", "skeleton", "number")
        for row in bulk.select(self._connection, seats, keys, wanted):
            self._names[row[0], row[5], row[6]] = True

    def _load_runs(self, names: Iterable[tuple[str, str, int]]) -> None:
        wanted = [name for name in names if name not in self._runs]
        if not wanted:
            return
        places = [f"{room}{above + 1:0{_NUMBER_LENGTH}}{looks}" for room, looks, above in wanted]
        for row in fetch(self._connection, _RUNS, places=places):
            above = row[1] - 1
            follows = row[3] == row[1]
            run = (row[4], row[5]) if follows else (above, row[3])
            self._runs[row[0], row[2], above] = run

    def _load_crowds(self, column: str, places: Iterable[Place]) -> None:
        known = self._crowds[column]
        wanted = [place for place in places if place not in known]
        if not wanted:
            return
        found = fetch(self._connection, _CROWDS[column], places=list(map("".join, wanted)))
        known.update(((row[0], row[1]), [row[2], row[3], row[4]]) for row in found)
        for place, before in self._read_seats.items():
            after = self._seats[place]
            for seat, sign in ((before, -1), (after, 1)):
                where: str | None = None if seat is None else getattr(seat, column)
                if seat is not None and where is not None and (place[0], where) in wanted:
                    _count(known[place[0], where], seat, sign)

    def room(self, conversation_id: str) -> Room | None:
        if conversation_id not in self._rooms:
            self._load_rooms([conversation_id])
        return self._rooms[conversation_id]

    def seat(self, conversation_id: str, participant_id: str) -> Seat | None:
        place = (conversation_id, participant_id)
        if conversation_id in self._erased:
            return None
        if place not in self._seats:
            self._load_seats([place])
        return self._seats[place]

    def seat_by_key(self, conversation_id: str, key: str) -> Seat | None:
        place = (conversation_id, key)
        if place not in self._keys:
            self._load_keys([place])
        participant_id = self._keys[place]
        return None if participant_id is None else self.seat(conversation_id, participant_id)

    def name_taken(self, conversation_id: str, skeleton: str, number: int) -> bool:
        name = (conversation_id, skeleton, number)
        if name not in self._names:
            self._load_names([name])
        return self._names[name]

    def free_number(self, conversation_id: str, skeleton: str, above: int) -> int:
        name = (conversation_id, skeleton, above)
        self._load_runs([name])
        last, following = self._runs[name]
        number = last + 1
        # What this commit has given away.
        while self._names.get((conversation_id, skeleton, number)) and number != following:
            number += 1
        if number == following:
            return self.free_number(conversation_id, skeleton, number)
        self._runs[name] = (number - 1, following)
        return number

    def at_address(self, conversation_id: str, address: str) -> Crowd:
        return self._crowd("address", (conversation_id, address))

    def at_device(self, conversation_id: str, device: str) -> Crowd:
        return self._crowd("device", (conversation_id, device))

    def _crowd(self, column: str, place: Place) -> Crowd:
        if place not in self._crowds[column]:
            self._load_crowds(column, [place])
        here, banned, muted = self._crowds[column][place]
        return Crowd(here, banned > 0, muted > 0)

    def seats_at_device(self, conversation_id: str, device: str) -> Sequence[Seat]:
        self._load_devices([(conversation_id, device)])
        found = [
            seat
            for seat in self._seats.values()
            if seat is not None
            and (seat.conversation_id, seat.device, seat.gone) == (conversation_id, device, None)
        ]
        return sorted(found, key=lambda seat: (seat.joined_at, seat.participant_id))

    # Changing.

    def add_room(self, room: Room) -> None:
        self._rooms[room.id] = room
        self._new_rooms[room.id] = None

    def save_room(self, room: Room) -> None:
        self._rooms[room.id] = room

    def add_seat(self, seat: Seat) -> None:
        self._change(seat, None)
        self._keys[seat.conversation_id, seat.key] = seat.participant_id

    def save_seat(self, seat: Seat) -> None:
        self._change(seat, self.seat(seat.conversation_id, seat.participant_id))

    def _change(self, seat: Seat, before: Seat | None) -> None:
        place = (seat.conversation_id, seat.participant_id)
        self._read_seats.setdefault(place, before)
        self._seats[place] = seat
        # A name that was given up stays taken until the commit: two rows that change places could
        # not be written one after the other.
        self._names[seat.conversation_id, seat.skeleton, seat.number] = True
        for column, crowds in self._crowds.items():
            for other, sign in ((before, -1), (seat, 1)):
                where = None if other is None else getattr(other, column)
                crowd = crowds.get((seat.conversation_id, where)) if where else None
                if other is not None and crowd is not None:
                    _count(crowd, other, sign)

    def erase(self, conversation_id: str) -> None:
        room = self.room(conversation_id)
        if room is not None:
            self._erased[conversation_id] = room
            self._rooms[conversation_id] = None

    # Writing.

    def flush(self) -> None:
        """Write everything; after the conversations, messages and events of the commit."""
        self._flush_rooms()
        self._flush_seats()
        self.flush_questions()
        for room in self._erased.values():
            erase(self._connection, room)

    def _flush_rooms(self) -> None:
        new, saved, due = [], [], []
        for conversation_id, room in self._rooms.items():
            before = self._read_rooms.get(conversation_id)
            if room is None or room == before:
                continue
            if conversation_id in self._new_rooms:
                new.append(room)
                continue
            row = forms.room_row(room)
            saved.append((row[0], *row[3:]))
            assert before is not None, "a room that is not new was read"
            told = (forms.untold_since(room), room.erase_at)
            if told != (forms.untold_since(before), before.erase_at):
                due.append((room.code, *told))
        bulk.insert(self._connection, rooms, [forms.room_row(room) for room in new])
        bulk.insert(self._connection, room_codes, [forms.code_row(room) for room in new])
        bulk.update(self._connection, rooms, ("conversation_id",), _ROOM, saved)
        bulk.update(self._connection, room_codes, ("code",), ("untold_since", "erase_at"), due)

    def _flush_seats(self) -> None:
        new, saved = [], []
        for place, before in self._read_seats.items():
            seat = self._seats[place]
            assert seat is not None, "a seat that is changed is there"
            row = forms.seat_row(seat, self._org_id)
            if before is None:
                new.append(row)
            else:
                saved.append((*row[:2], *row[3:]))
        # First those who give up a name.
        keys = ("conversation_id", "participant_id")
        bulk.update(self._connection, seats, keys, _SEAT, saved)
        bulk.insert(self._connection, seats, new)


def _count(crowd: list[int], seat: Seat, sign: int) -> None:
    crowd[0] += sign * (seat.gone is None)
    crowd[1] += sign * (seat.gone == "banned")
    crowd[2] += sign * (seat.gone is None and seat.muted)
