"""What the bench says about its frames is so: 150 bytes for everyone, and rooms as described."""

import json
from collections import Counter

import pytest

from bench.peers.base import FRAME_BYTES, TEXT, socketio_dialect
from bench.peers.madang import ROOM, _typist, mixed_rooms


def test_the_text_of_the_comparison_is_150_bytes_of_json() -> None:
    assert len(TEXT.encode()) == FRAME_BYTES
    assert json.loads(TEXT)["type"] == "typing.start"


def test_a_socketio_event_is_as_long_as_the_others() -> None:
    assert len(socketio_dialect().message) == FRAME_BYTES


def test_a_typing_frame_of_madang_is_as_long_as_the_others() -> None:
    frame = {"type": "typing.start", "user_id": _typist(3), "conversation_id": "0" * 36}
    assert len(json.dumps(frame, separators=(",", ":"))) == FRAME_BYTES


@pytest.mark.parametrize("users", [20, 2000, 10_000])
def test_every_user_is_in_as_many_rooms_of_ten_as_asked(users: int) -> None:
    rooms = mixed_rooms(users, 10)
    assert all(len(set(room)) == ROOM for room in rooms)
    assert set(Counter(user for room in rooms for user in room).values()) == {10}
    assert len(rooms) == users
