"""Questions, polls and votes of live rooms inside one commit: the part of `live_rows` that is about
what is asked and chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from madang.model.nouns import Message
from madang.store import bulk, rows
from madang.store import room_forms as forms
from madang.store.queries.reading import MESSAGE, fetch, rows_query
from madang.store.tables import questions, votes

Place = tuple[str, str]
"""(conversation_id, and of it a participant_id, key, skeleton, address or device); or (message_id,
participant_id or voter)."""

ID_LENGTH = 36
# Conditions are on columns of their own and not on parts of a text: see decision 003.
WANTED = (
    "WITH wanted (conversation_id, value) AS MATERIALIZED ("
    f"SELECT substr(i.value, 1, {ID_LENGTH}), substr(i.value, {ID_LENGTH + 1}) "
    "FROM EACH(:places) AS i) "
)
_QUESTIONS = rows_query(
    MESSAGE,
    "FROM questions AS q THEN JOIN messages AS m ON m.id = q.message_id "
    "WHERE q.conversation_id = :conversation AND q.org_id = :org ORDER BY q.seq LIMIT -1",
)
_ASKED = rows_query(
    "w.conversation_id, w.value, "
    "(SELECT count(*) FROM questions AS q WHERE q.conversation_id = w.conversation_id "
    "AND q.asked_by = w.value AND q.kind = 'question' "
    "AND q.state IN ('open', 'approved', 'live'))",
    "FROM wanted AS w LIMIT -1",
    before=WANTED,
    lists=["places"],
)
_TALLY = rows_query(
    "c.choice, c.given",
    "FROM (SELECT v.choice, count(*) AS given FROM votes AS v "
    "WHERE v.message_id = :message AND v.org_id = :org GROUP BY v.choice) AS c LIMIT -1",
)
_STATE = ("state", "votes", "visible")


class QuestionRows:
    """Maps of what was read; changes go into the same maps."""

    def __init__(
        self, connection: Connection, org_id: str, current: Callable[[Message], Message]
    ) -> None:
        """`current` gives a message that was read as it is in this commit."""
        self._connection = connection
        self._org_id = org_id
        self._current = current
        self._asked: dict[Place, int] = {}
        self._votes: dict[Place, dict[str, str | None]] = {}
        """Choices, and as whom each was voted."""
        self._read_votes: dict[Place, dict[str, str | None]] = {}
        self._voters: dict[Place, str | None] = {}
        self._new_questions: dict[str, Message] = {}
        self._saved_questions: dict[str, Message] = {}
        self._removed_questions: dict[str, Message] = {}

    def load_asked(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._asked]
        if wanted:
            found = fetch(self._connection, _ASKED, places=list(map("".join, wanted)))
            self._asked.update(((row[0], row[1]), row[2]) for row in found)

    def load_votes(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._votes]
        self._votes.update((place, {}) for place in wanted)
        keys = ("message_id", "participant_id")
        for row in bulk.select(self._connection, votes, keys, wanted):
            if row[3] == self._org_id:
                self._votes[row[0], row[1]][row[2]] = row[4]

    def load_voters(self, places: Iterable[Place]) -> None:
        wanted = [place for place in places if place not in self._voters]
        self._voters.update((place, None) for place in wanted)
        for row in bulk.select(self._connection, votes, ("message_id", "voter"), wanted):
            # Whoever took it back in this commit does not count.
            if row[3] == self._org_id and self._votes.get((row[0], row[1])) != {}:
                self._voters[row[0], row[4]] = row[1]

    def asked(self, conversation_id: str, participant_id: str) -> int:
        place = (conversation_id, participant_id)
        self.load_asked([place])
        new = sum(
            (message.conversation_id, message.sender_id) == place
            for message in self._new_questions.values()
        )
        return self._asked[place] + new

    def votes(self, message_id: str, participant_id: str) -> frozenset[str]:
        return frozenset(self._choices((message_id, participant_id)))

    def _choices(self, place: Place) -> dict[str, str | None]:
        if place not in self._votes:
            self.load_votes([place])
        return self._votes[place]

    def tally(self, message_id: str) -> Mapping[str, int]:
        found = fetch(self._connection, _TALLY, message=message_id, org=self._org_id)
        given = Counter({row[0]: row[1] for row in found})
        for place, before in self._read_votes.items():
            if place[0] == message_id:
                given.subtract(before.keys())
                given.update(self._votes[place].keys())
        return {choice: times for choice, times in given.items() if times > 0}

    def voter(self, message_id: str, voter: str) -> str | None:
        place = (message_id, voter)
        if place not in self._voters:
            self.load_voters([place])
        return self._voters[place]

    def questions(self, conversation_id: str) -> Sequence[Message]:
        found: dict[str, Message] = {}
        for row in fetch(
            self._connection, _QUESTIONS, conversation=conversation_id, org=self._org_id
        ):
            message = self._current(rows.message_of(row, row[rows.MESSAGE_WIDTH]))
            found[message.id] = message
        for message in (*self._new_questions.values(), *self._saved_questions.values()):
            if message.conversation_id == conversation_id:
                found[message.id] = message
        for message_id in self._removed_questions:
            found.pop(message_id, None)
        return sorted(found.values(), key=lambda message: message.seq)

    def set_votes(
        self, message: Message, participant_id: str, voter: str | None, choices: frozenset[str]
    ) -> None:
        place = (message.id, participant_id)
        before = self._choices(place)
        self._read_votes.setdefault(place, before)
        for other in set(before.values()) - {None}:
            if other is not None and self._voters.get((message.id, other)) == participant_id:
                self._voters[message.id, other] = None
        self._votes[place] = dict.fromkeys(choices, voter)
        if voter is not None and choices:
            self._voters[message.id, voter] = participant_id

    def add_question(self, message: Message) -> None:
        self._new_questions[message.id] = message

    def save_question(self, message: Message) -> None:
        if message.deleted_at is not None:
            self._removed_questions[message.id] = message
            self._new_questions.pop(message.id, None)
            self._saved_questions.pop(message.id, None)
        elif message.id in self._new_questions:
            self._new_questions[message.id] = message
        else:
            self._saved_questions[message.id] = message

    def flush_questions(self) -> None:
        """Write them, and the votes."""
        new = [forms.question_row(message) for message in self._new_questions.values()]
        saved = []
        for message in self._saved_questions.values():
            row = forms.question_row(message)
            saved.append((row[0], *row[6:]))
        removed = [(message_id,) for message_id in self._removed_questions]
        bulk.insert(self._connection, questions, new)
        bulk.update(self._connection, questions, ("message_id",), _STATE, saved)
        bulk.delete(self._connection, questions, ("message_id",), removed)
        bulk.delete(self._connection, votes, ("message_id",), removed)
        self._flush_votes()

    def _flush_votes(self) -> None:
        old, new = [], []
        for place, before in self._read_votes.items():
            if place[0] in self._removed_questions:
                continue
            after = self._votes[place]
            old += [(*place, choice) for choice in before if choice not in after]
            new += [
                (*place, choice, self._org_id, voter)
                for choice, voter in after.items()
                if choice not in before
            ]
        key = ("message_id", "participant_id", "choice")
        bulk.delete(self._connection, votes, key, old)
        bulk.insert(self._connection, votes, new)
