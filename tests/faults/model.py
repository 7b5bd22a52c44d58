"""The whole messenger as a few plain objects: what every action does and when it is refused.

Small enough to be believed. It knows nothing of nodes, connections, cursors or time: what holds
for one machine that never fails has to hold for all of them together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["admin", "member"]


class No(Exception):
    """The action is refused, with this code, and changes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Said:
    """A message."""

    number: int
    sender: str
    content: str
    client_id: str | None
    seq: int
    edited: bool = False
    deleted: bool = False
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Person:
    """A participant: `since` is the number of the action that brought them."""

    role: Role
    since: int
    read: int = 0
    muted: bool = False


@dataclass(slots=True)
class Room:
    """A conversation."""

    kind: Literal["direct", "group"]
    title: str | None
    people: dict[str, Person]
    archived: bool = False
    last_seq: int = 1
    said: list[Said] = field(default_factory=list)

    def first(self) -> str | None:
        """Who has been there longest."""
        return min(self.people, key=lambda user: (self.people[user].since, user), default=None)

    def admins(self) -> list[str]:
        return [user for user, person in self.people.items() if person.role == "admin"]


class Model:
    """Rooms and messages by number, in the order in which they were made."""

    def __init__(self) -> None:
        self.rooms: list[Room] = []
        self.messages: list[tuple[Room, Said]] = []
        self.actions = 0

    # What may be done.

    def _place(self, user: str, room: Room, *, archived: bool = False) -> Person:
        person = room.people.get(user)
        if person is None:
            raise No("NOT_A_PARTICIPANT")
        if room.archived and not archived:
            raise No("CONFLICT")
        return person

    def _admin(self, user: str, room: Room, *, archived: bool = False) -> None:
        if self._place(user, room, archived=archived).role != "admin":
            raise No("FORBIDDEN")

    def _living(self, user: str, room: Room, said: Said) -> None:
        if user not in room.people or said.deleted:
            raise No("NOT_FOUND")
        if room.archived:
            raise No("CONFLICT")

    # What is done. Each returns whether it is something new.

    def create_group(self, user: str, others: tuple[str, ...], title: str) -> bool:
        self.actions += 1
        people = {user: Person("admin", self.actions)}
        for other in others:
            people.setdefault(other, Person("member", self.actions))
        self.rooms.append(Room("group", title, people))
        return True

    def create_direct(self, user: str, other: str) -> bool:
        self.actions += 1
        if user == other:
            raise No("VALIDATION")
        pair = {user, other}
        if any(room.kind == "direct" and room.people.keys() == pair for room in self.rooms):
            return False
        people = {one: Person("member", self.actions) for one in (user, other)}
        self.rooms.append(Room("direct", None, people))
        return True

    def send(self, user: str, room: Room, content: str, client_id: str | None) -> bool:
        self._place(user, room, archived=True)
        if client_id is not None:
            for said in room.said:
                if (said.sender, said.client_id) == (user, client_id):
                    return False
        self._place(user, room)
        room.last_seq += 1
        said = Said(len(self.messages), user, content, client_id, room.last_seq)
        room.said.append(said)
        self.messages.append((room, said))
        return True

    def edit(self, user: str, room: Room, said: Said, content: str) -> bool:
        self._living(user, room, said)
        if said.sender != user:
            raise No("FORBIDDEN")
        said.content, said.edited = content, True
        room.last_seq += 1
        return True

    def delete(self, user: str, room: Room, said: Said) -> bool:
        if user not in room.people:
            raise No("NOT_FOUND")
        if said.sender != user and room.people[user].role != "admin":
            raise No("FORBIDDEN")
        if said.deleted:
            return False
        if room.archived:
            raise No("CONFLICT")
        said.content, said.deleted, said.reactions = "", True, {}
        room.last_seq += 1
        return True

    def react(self, user: str, room: Room, said: Said, emoji: str, *, add: bool) -> bool:
        self._living(user, room, said)
        users = said.reactions.get(emoji, [])
        if (user in users) == add:
            return False
        said.reactions[emoji] = [*users, user] if add else [one for one in users if one != user]
        if not said.reactions[emoji]:
            del said.reactions[emoji]
        room.last_seq += 1
        return True

    def read(self, user: str, room: Room, said: Said) -> bool:
        if user not in room.people:
            raise No("NOT_FOUND")
        if room.people[user].read >= said.seq:
            return False
        room.people[user].read = said.seq
        room.last_seq += 1
        return True

    def add(self, user: str, room: Room, who: str, role: Role | None) -> bool:
        self.actions += 1
        self._place(user, room)
        if room.kind != "group":
            raise No("FORBIDDEN")
        self._admin(user, room)
        if role == "member" and who == user and room.admins() == [user]:
            raise No("CONFLICT")
        person = room.people.get(who)
        if person is None:
            room.people[who] = Person(role or "member", self.actions)
        elif role in (None, person.role):
            return False
        else:
            person.role = role or "member"
        room.last_seq += 1
        return True

    def remove(self, user: str, room: Room, who: str) -> bool:
        person = self._place(user, room, archived=True)
        if room.kind != "group":
            raise No("FORBIDDEN")
        if who != user and person.role != "admin":
            raise No("FORBIDDEN")
        if who not in room.people:
            raise No("NOT_FOUND")
        was_admin = room.people.pop(who).role == "admin"
        room.last_seq += 1
        heir = room.first()
        if was_admin and heir is not None and not room.admins():
            room.people[heir].role = "admin"
            room.last_seq += 1
        return True

    def rename(self, user: str, room: Room, title: str) -> bool:
        self._admin(user, room)
        room.title = title
        room.last_seq += 1
        return True

    def archive(self, user: str, room: Room) -> bool:
        self._admin(user, room, archived=True)
        if room.archived:
            return False
        room.archived = True
        room.last_seq += 1
        return True

    def mute(self, user: str, room: Room, level: str) -> bool:
        self._place(user, room, archived=True).muted = level == "none"
        return False

    # What is seen.

    def seen_by(self, user: str) -> dict[int, Any]:
        """All rooms of a user by number, in the shape of `seen`."""
        return {
            number: {
                "kind": room.kind,
                "title": room.title,
                "archived": room.archived,
                "last_seq": room.last_seq,
                "muted": room.people[user].muted,
                "people": {one: (p.role, p.read) for one, p in room.people.items()},
                "unread": sum(
                    said.seq > room.people[user].read and said.sender != user and not said.deleted
                    for said in room.said
                ),
                "said": [
                    (s.sender, s.content, s.client_id, s.seq, s.edited, s.deleted, s.reactions)
                    for s in room.said
                ],
            }
            for number, room in enumerate(self.rooms)
            if user in room.people
        }


def seen(snapshot: dict[str, dict[str, Any]], numbers: dict[str, int]) -> dict[int, Any]:
    """A client's snapshot in the model's words. `numbers` are rooms by id."""
    return {
        numbers[room_id]: {
            "kind": room["kind"],
            "title": room["title"],
            "archived": room["status"] == "archived",
            "last_seq": room["last_seq"],
            "muted": room["muted"],
            "people": {
                one["user_id"]: (one["role"], one["last_read_seq"]) for one in room["participants"]
            },
            "unread": room["unread_count"],
            "said": [
                (
                    m["sender_id"],
                    m["content"],
                    m["client_id"],
                    m["seq"],
                    m["edited_at"] is not None,
                    m["deleted_at"] is not None,
                    m["reactions"],
                )
                for m in room["messages"].values()
            ],
        }
        for room_id, room in snapshot.items()
    }
