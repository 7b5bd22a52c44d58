"""A stream of the bus in pieces of any size: nothing changes where nothing is to befall it, and
what befalls messages leaves all else as it was."""

from __future__ import annotations

import random

from tests.faults.resp import Chances, Mangle, is_message, value_end

OTHERS = [
    b"+OK\r\n",
    b":12\r\n",
    b"$-1\r\n",
    b"$5\r\nhe\r\no\r\n",
    b"%1\r\n+role\r\n*2\r\n:1\r\n$0\r\n\r\n",
    b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    b"|1\r\n+key\r\n+value\r\n:5\r\n",
    b"*0\r\n",
]


def message(number: int) -> bytes:
    body = f"\r\n{number}\r\n".encode()
    return b">3\r\n$7\r\nmessage\r\n$3\r\nroo\r\n$%d\r\n%s\r\n" % (len(body), body)


def stream(chance: random.Random) -> list[bytes]:
    return [message(n) if chance.random() < 0.7 else chance.choice(OTHERS) for n in range(300)]


def through(mangle: Mangle, data: bytes, chance: random.Random) -> list[bytes]:
    """What comes out, value by value."""
    out = b""
    while data:
        size = chance.randrange(1, 60)
        out += mangle(data[:size])
        data = data[size:]
    values, at = [], 0
    while at < len(out):
        end = value_end(out, at)
        assert end is not None, "a part of a value came out"
        values.append(out[at:end])
        at = end
    return values


def test_values_end_where_they_do() -> None:
    for value in [*OTHERS, message(1)]:
        assert value_end(value + b"+OK\r\n", 0) == len(value)
        for cut in range(len(value)):
            assert value_end(value[:cut], 0) is None


def test_nothing_changes_where_nothing_is_to_befall_it() -> None:
    chance = random.Random(1)
    values = stream(chance)
    assert through(Mangle(Chances(), chance), b"".join(values), chance) == values


def test_what_befalls_messages_is_counted_and_leaves_all_else() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    values = stream(chance)
    chances = Chances(lost=0.2, doubled=0.2, swapped=0.2)
    mangle = Mangle(chances, chance)
    came = through(mangle, b"".join(values), chance)
    chances.none()
    came += through(mangle, b"+OK\r\n", chance)[:-1]
    assert [v for v in came if not is_message(v)] == [v for v in values if not is_message(v)]
    messages = [v for v in values if is_message(v)]
    arrived = [v for v in came if is_message(v)]
    assert len(arrived) == len(messages) - chances.was_lost + chances.was_doubled
    assert len(set(arrived)) == len(messages) - chances.was_lost
    assert chances.was_lost and chances.was_doubled and chances.was_swapped
    assert list(dict.fromkeys(arrived)) != [m for m in messages if m in set(arrived)]
