"""The bus on a server that is killed, stopped, flushed, flooded and lied to."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from madang.bus.redis import LARGEST_BACKLOG, RedisBus
from madang.clock import SystemClock
from madang.ports.bus import Lease, SignalTold, Turn
from madang.protocol.errors import Unavailable
from madang.testing.clock import JumpingClock
from tests.bus.conftest import Ends, Heard, commit, confirmed, event
from tests.conftest import eventually
from tests.valkey import Valkey


def _count(valkey: Valkey, section: str, name: str) -> int:
    """A number out of INFO."""
    for line in valkey.ask("INFO", section).decode().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removeprefix("calls=").split(",")[0])
    return 0


async def test_a_turn_is_one_write_and_in_order(redis_ends: Ends, valkey: Valkey) -> None:
    one, _ = await redis_ends.start(JumpingClock())  # Which does not ping.
    other, heard = await redis_ends.start(JumpingClock())
    await other.follow_org("org")
    other.follow_conversation("c1")
    other.follow_conversation("c2")
    await confirmed(other)
    before = _count(valkey, "stats", "total_reads_processed")
    for number in range(1, 11):
        batch = commit(
            number * 10, event(number * 10 + 1, "c1", number), event(number * 10 + 2, "c2", number)
        )
        one.tell_commit(batch, [])
    await heard.note(102)
    assert heard.kinds == ["event", "event", "note"] * 10
    assert [note.after for note in heard.of("note")] == [number * 10 for number in range(1, 11)]
    # The others are of the question, and the end of the one before.
    assert _count(valkey, "stats", "total_reads_processed") - before == 1 + 2
    assert other.heard == 30 and one.told_bytes > 30 * 100 and one.dropped == 0


async def test_ten_thousand_users_are_followed_in_a_few_commands(
    redis_ends: Ends, valkey: Valkey
) -> None:
    one, _ = await redis_ends.start()
    other, heard = await redis_ends.start()
    before = _count(valkey, "commandstats", "cmdstat_subscribe")
    started = time.process_time()  # Not the clock on the wall: other tests have the machine too.
    for number in range(10_000):
        other.follow_user("org", f"user-{number}")
    await confirmed(other)
    assert time.process_time() - started < 0.5
    assert _count(valkey, "commandstats", "cmdstat_subscribe") - before == 20
    told = event(1)
    one.tell_commit(commit(0, told), [("user-0", told), ("user-9999", told)])
    await heard.until(lambda: heard.of("event") == [told, told])


async def test_a_killed_server_is_only_a_delay(redis_ends: Ends, valkey: Valkey) -> None:
    one, heard_one = await redis_ends.start()
    other, heard = await redis_ends.start()
    await other.follow_org("org")
    other.follow_conversation("c1")
    await confirmed(other)
    assert not other.away
    await one.hold([Lease("org", "ann", "online", 1), Lease("org", "eve", "dnd", 1)])
    valkey.kill()
    await heard.until(lambda: heard.kinds == ["lost"])
    await heard_one.until(lambda: heard_one.kinds == ["lost"])
    assert other.away
    other.follow_conversation("c2")  # What is followed meanwhile is followed then.
    other.unfollow_conversation("c1")
    await other.follow_org("another")
    for asked in (
        one.hold([Lease("org", "bob", "online", 1)]),
        one.hold([Lease("org", "eve", "offline", 0)]),
        one.present("org", ["ann"]),
        one.spend({"ann": 1}, 1.0),
        one.acquire("run:1", 1),
        one.acquire_all(["run:1"], 1),
        one.owner("run:1"),
        one.release("run:1"),
        one.expired(),
    ):
        with pytest.raises(Unavailable):
            await asked
    one.tell_commit(commit(0, event(1)), [])
    one.tell_signal("org", SignalTold("c1", b"{}"))
    assert one.dropped == 3
    valkey.start()
    await heard.until(lambda: heard.kinds == ["lost", "in"])
    await heard_one.until(lambda: heard_one.kinds == ["lost", "in"])
    assert (other.away, other.reconnects) == (False, 1)
    one.tell_commit(commit(1, event(2, "c1"), event(3, "c2")), [])
    await heard.note(3)
    assert heard.kinds == ["lost", "in", "event", "note"]
    await _present(other, "ann")
    # What could not be said then is said now, and its turn is given.
    await _present(other, "bob")
    assert sorted(await one.expired(), key=lambda turn: turn.user_id) == [
        Turn("org", "bob", "offline", "online"),
        Turn("org", "eve", "dnd", "offline"),
    ]
    assert list(await one.present("org", ["ann", "bob", "eve"])) == ["ann", "bob"]


async def test_it_is_in_touch_when_everything_is_followed_again(
    redis_ends: Ends, valkey: Valkey
) -> None:
    end, heard = await redis_ends.start()
    for number in range(30_000):  # More than are followed at once.
        end.follow_conversation(f"c{number}")
    await confirmed(end)
    followed: list[int] = []

    def in_touch() -> None:
        followed.append(len(valkey.ask("PUBSUB", "CHANNELS")))
        heard.all.append(("in", None))

    heard.in_touch = in_touch  # type: ignore[method-assign]
    valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await heard.until(lambda: heard.kinds[:1] == ["lost"])
    await _settled(end)
    assert followed == [30_001]  # And the node's own.


async def _present(end: RedisBus, user_id: str) -> None:
    """Wait until the server has the user: a renewal brings that about, in another task."""
    async with asyncio.timeout(10):
        while user_id not in await end.present("org", [user_id]):
            pass


async def test_leases_come_back_after_a_flush(redis_ends: Ends, valkey: Valkey) -> None:
    one, heard = await redis_ends.start(renew_seconds=1000)  # It does not wait for that.
    await one.hold([Lease("org", "ann", "dnd", 2), Lease("org", "bob", "online", 1)])
    await one.hold([Lease("org", "bob", "offline", 0)])
    valkey.flush()
    assert await one.present("org", ["ann"]) == {}
    await _present(one, "ann")
    assert await one.present("org", ["ann", "bob"]) == {"ann": Lease("org", "ann", "dnd", 2)}
    assert await one.expired() == []  # Nobody had been told that they were gone.
    assert heard.all == []


async def test_scripts_that_were_lost_are_taught_again(redis_ends: Ends, valkey: Valkey) -> None:
    one, _ = await redis_ends.start()
    valkey.ask("SCRIPT", "FLUSH")
    turns = await one.hold([Lease("org", f"user-{number}", "online", 1) for number in range(700)])
    assert {(turn.before, turn.now) for turn in turns} == {("offline", "online")}


async def test_a_stopped_server_is_noticed_and_waited_for(redis_ends: Ends, valkey: Valkey) -> None:
    one, heard = await redis_ends.start()
    await one.follow_org("org")
    other, _ = await redis_ends.start()
    valkey.pause()
    started = time.monotonic()
    with pytest.raises(Unavailable):
        await one.owner("run:1")
    assert time.monotonic() - started < 3
    await heard.until(lambda: heard.kinds == ["lost"])
    assert time.monotonic() - started < 8
    valkey.resume()
    await heard.until(lambda: heard.kinds == ["lost", "in"])
    await eventually(lambda: not other.away)
    other.tell_commit(commit(0, event(1)), [])
    await heard.note(1)


async def test_who_is_thrown_out_for_reading_slowly_is_back(
    redis_ends: Ends, valkey: Valkey
) -> None:
    one, heard_one = await redis_ends.start()
    other, heard = await redis_ends.start()
    await other.follow_org("org")
    other.follow_conversation("c1")
    await confirmed(other)
    # What a server does with a subscriber that has too much unread.
    valkey.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await heard.until(lambda: heard.kinds == ["lost", "in"])
    await heard_one.until(lambda: heard_one.kinds == ["lost", "in"])
    one.tell_commit(commit(0, event(1)), [])
    await heard.note(1)
    assert heard.kinds == ["lost", "in", "event", "note"]


async def test_a_refusal_of_what_nobody_waits_for_is_counted_and_said_once(
    redis_ends: Ends, valkey: Valkey
) -> None:
    one, heard = await redis_ends.start()
    valkey.ask("ACL", "SETUSER", "default", "-publish")
    try:
        with capture_logs() as logs:
            for number in range(1, 20):
                one.tell_commit(commit(number - 1, event(number)), [])
                await one.settled()
    finally:
        valkey.ask("ACL", "SETUSER", "default", "+@all")
    assert [entry["event"] for entry in logs] == ["the bus refused"]
    assert one.refused == 38 and heard.all == []


async def test_what_is_told_to_a_server_that_takes_nothing_is_bounded(
    redis_ends: Ends, valkey: Valkey
) -> None:
    clock = JumpingClock()
    one, heard = await redis_ends.start(clock)
    valkey.pause()
    large = SignalTold("c1", b"x" * 1_000_000)
    for _ in range(200):
        one.tell_signal("org", large)
        if one.told_bytes < LARGEST_BACKLOG / 2:
            await asyncio.sleep(0)  # Some turn by turn, the rest in one turn.
    assert one.dropped > 90  # Within the turn: what waits for its end is bounded too.
    await asyncio.sleep(0)
    assert one.told_bytes < LARGEST_BACKLOG + 10_000_000  # The kernel holds some of it.
    assert one.dropped > 100
    assert one.told_bytes + one.dropped * 1_000_000 >= 200_000_000
    valkey.resume()
    await one.follow_org("org")
    assert heard.all == []


HOSTILE = [
    b"",
    b"garbage",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b'{"v":1}',
    b'{"node":"x","v":2,"at":1,"org":"org","events":[]}',
    b'{"node":"x","v":1,"at":"1","org":"org","events":[]}',
    b'{"node":"x","v":1,"at":1,"org":7,"events":[]}',
    b'{"node":"x","v":1,"at":1,"org":"org"}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":7}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":"events"}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":[[]]}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":[[1,"c1",1,"t","a",null,[],1,null,null]]}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":[["1","c1",1,"t","a",null,{},1,null,null]]}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":[[1,"c1",1,"t","a",null,{},1,[1],null]]}',
    b'{"node":"x","v":1,"at":1,"org":"org","events":[[1,"c1",1,"t","a",null,{},1,null,[1]]]}',
    b'{"node":"x","v":1,"at":1,"org":"org","note":[]}',
    b'{"node":"x","v":1,"at":1,"org":"org","note":{"after":1}}',
    b'{"node":"x","v":1,"at":1,"org":"org","signal":"abc"}',
    b'{"node":"x","v":1,"at":1,"org":"org","signal":["c1",7,null]}',
    b'{"node":"x","v":1,"at":1,"org":"org","presence":[["ann","{}",7]]}',
    b"[" * 100_000,
]


async def test_hostile_payloads_are_passed_over_and_logged_once(
    redis_ends: Ends, valkey: Valkey
) -> None:
    one, _ = await redis_ends.start()
    other, heard = await redis_ends.start()
    await other.follow_org("org")
    await confirmed(other)
    with capture_logs() as logs:
        for payload in HOSTILE:
            valkey.ask("PUBLISH", "madang:org:org", payload)
        one.tell_commit(commit(0, event(1)), [])
        await heard.note(1)
    assert heard.kinds == ["note"]
    assert other.unreadable == len(HOSTILE)
    assert [entry["log_level"] for entry in logs] == ["warning"]


async def test_a_listener_that_fails_does_not_end_the_bus(redis_ends: Ends) -> None:
    one, _ = await redis_ends.start()
    other, heard = await redis_ends.start()
    await other.follow_org("org")
    await confirmed(other)

    def fail(note: Any) -> None:
        heard.all.append(("failed", note))
        raise RuntimeError("a bug of the listener's")

    listen, heard.heard_note = heard.heard_note, fail  # type: ignore[method-assign]
    with capture_logs() as logs:
        one.tell_commit(commit(0, event(1)), [])
        await one.settled()
        await confirmed(other)
    heard.heard_note = listen  # type: ignore[method-assign]
    assert [entry["event"] for entry in logs] == ["hearing failed"]
    one.tell_commit(commit(1, event(2)), [])
    await heard.note(2)


async def test_what_is_no_json_is_not_told_and_fails_nobody(redis_ends: Ends) -> None:
    one, _ = await redis_ends.start()
    with capture_logs() as logs:
        one.tell_commit(commit(0, event(1, data={"size": 2**70})), [])
        one.tell_signal("org", SignalTold("c1", b"\xff"))
    assert one.dropped == 2
    assert len(logs) == 2


async def test_limits_end_by_themselves(redis_ends: Ends, valkey: Valkey) -> None:
    one, _ = await redis_ends.start()
    await one.spend({"ann": 2, "bob": 0}, 10.0)
    assert 19_000 < valkey.ask("PTTL", "madang:rate:ann") <= 20_000
    assert valkey.ask("EXISTS", "madang:rate:bob") == 0


async def test_the_prefix_parts_two_installations(redis_ends: Ends, valkey: Valkey) -> None:
    one, _ = await redis_ends.start(prefix="one:")
    other, heard = await redis_ends.start(prefix="other:")
    third, _ = await redis_ends.start(prefix="other:")
    await other.follow_org("org")
    await one.hold([Lease("org", "ann", "online", 1)])
    assert await other.present("org", ["ann"]) == {}
    one.tell_commit(commit(0, event(1)), [])
    await one.settled()
    third.tell_commit(commit(1, event(2)), [])
    await heard.note(2)
    assert len(heard.all) == 1
    assert valkey.ask("EXISTS", "one:presence:org:ann") == 1


async def test_databases_part_two_installations_too(valkey: Valkey) -> None:
    heard = Heard()
    zero, third = valkey.url, valkey.url.replace("/0", "/3")
    other, one, same = (RedisBus(url, SystemClock()) for url in (zero, third, third))
    for end in (other, one):
        await end.start(Heard())
    await same.start(heard)
    await same.follow_org("org")
    other.tell_commit(commit(0, event(1)), [])
    await other.settled()
    one.tell_commit(commit(1, event(2)), [])
    await heard.note(2)
    assert len(heard.all) == 1
    for end in (other, one, same):
        await end.close()


async def test_after_any_faults_everything_is_as_it_should_be(
    redis_ends: Ends, valkey: Valkey
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    one, heard_one = await redis_ends.start()
    other, heard = await redis_ends.start(renew_seconds=0.2)
    follows: set[str] = set()
    here: set[str] = set()
    names = [f"c{number}" for number in range(50)]
    for _ in range(20):
        for name in chance.sample(names, 10):
            (follows.discard if name in follows else follows.add)(name)
            (other.follow_conversation if name in follows else other.unfollow_conversation)(name)
        name = chance.choice(names)
        devices = chance.randrange(2)
        (here.add if devices else here.discard)(name)
        try:
            await other.hold([Lease("org", name, "online", devices)])
        except Unavailable:
            pass  # Said when the bus is back.
        match chance.randrange(5):
            case 0:
                valkey.kill()
                valkey.start()
            case 1:
                valkey.flush()
            case 2:
                valkey.ask("CLIENT", "KILL", "TYPE", chance.choice(["pubsub", "normal"]))
            case 3:
                valkey.ask("SCRIPT", "FLUSH")
        if chance.random() < 0.5:
            await _settled(chance.choice((one, other)))
    for end in (one, other):
        await _settled(end)
    nodes = [f"madang:node:{end.node}".encode() for end in (one, other)]
    expected = sorted(f"madang:conversation:{name}".encode() for name in follows)
    assert sorted(valkey.ask("PUBSUB", "CHANNELS")) == sorted([*expected, *nodes])
    for listener in (heard, heard_one):
        assert listener.kinds == ["lost", "in"] * (len(listener.all) // 2)
    events = [event(number + 1, name) for number, name in enumerate(names)]
    one.tell_commit(commit(0, *events), [])
    wanted = [one for one in events if one.conversation_id in follows]
    await heard.until(lambda: heard.of("event") == wanted)
    async with asyncio.timeout(10):
        while await other.present("org", names) != {
            name: Lease("org", name, "online", 1) for name in names if name in here
        }:
            pass
    clients = valkey.ask("CLIENT", "LIST").decode().count("name=madang-")
    assert clients == 6  # Three each: none was left behind.


async def _settled(end: RedisBus) -> None:
    """Wait until the end is in touch and settled; one that was cut off may not know it yet."""
    async with asyncio.timeout(20):
        while True:
            try:
                await end.settled()
                if not end.away:
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0)


async def test_closing_says_what_was_told_and_leaves_nothing(valkey: Valkey) -> None:
    one, other, heard = (
        RedisBus(valkey.url, SystemClock()),
        RedisBus(valkey.url, SystemClock()),
        Heard(),
    )
    await one.start(Heard())
    await other.start(heard)
    await other.follow_org("org")
    await one.hold([Lease("org", "ann", "online", 1)])
    for number in range(1, 101):
        one.tell_commit(commit(number - 1, event(number)), [])
    await one.close()
    await heard.note(100)
    assert len(heard.all) == 100
    await other.close()
    await other.close()
    # What says who was here runs out by itself; the list of nodes is for who looks next.
    left = [key for key in valkey.ask("KEYS", "*") if key != b"madang:nodes"]
    assert all(0 < valkey.ask("PTTL", key) <= 600_000 for key in left)
    looks = RedisBus(valkey.url, SystemClock())
    await looks.start(Heard())
    async with asyncio.timeout(20):
        while valkey.ask("EXISTS", "madang:nodes", "madang:presence:org:ann"):
            await looks.expired()
    await looks.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    one.tell_commit(commit(0, event(1)), [])
    with pytest.raises(Unavailable):
        await one.owner("run:1")


async def test_closing_while_the_bus_is_away(valkey: Valkey) -> None:
    one, heard = RedisBus(valkey.url, SystemClock()), Heard()
    await one.start(heard)
    await one.hold([Lease("org", "ann", "online", 1)])
    valkey.kill()
    await heard.until(lambda: heard.kinds == ["lost"])
    await one.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


# Starting.


async def test_no_server_is_said_in_a_sentence(valkey: Valkey) -> None:
    with pytest.raises(Unavailable, match=r"^No Redis or Valkey answers at 127.0.0.1:1: start"):
        await RedisBus("redis://:s3cret@127.0.0.1:1", SystemClock()).start(Heard())
    with pytest.raises(Unavailable, match="No Redis or Valkey answers at unix:/nowhere"):
        await RedisBus("unix:///nowhere", SystemClock()).start(Heard())


async def test_a_url_that_is_none_is_said_at_the_start() -> None:
    bus = RedisBus("redis://:s3cret@host:port", SystemClock())
    with pytest.raises(Unavailable, match=r"^The bus URL cannot be used") as refused:
        await bus.start(Heard())
    assert "s3cret" not in str(refused.value)
    await bus.close()


async def test_something_else_that_answers_is_no_server() -> None:
    class Other(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    loop = asyncio.get_running_loop()
    async with await loop.create_server(Other, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="No Redis or Valkey answers"):
            await RedisBus(f"redis://127.0.0.1:{port}", SystemClock()).start(Heard())


async def test_a_password(tmp_path: Path) -> None:
    socket = tmp_path / "valkey.sock"
    server = Valkey(requirepass="s3cret", unixsocket=str(socket))
    try:
        server.start()
        for password in ("", ":wr0ng@"):
            url = server.url.replace("redis://", f"valkey://{password}")
            with pytest.raises(Unavailable, match="another password") as refused:
                await RedisBus(url, SystemClock()).start(Heard())
            assert "wr0ng" not in str(refused.value)
        right = server.url.replace("redis://", "redis://:s3cret@").replace("/0", "/3")
        for url in (right, f"unix://:s3cret@{socket}?db=3"):
            bus = RedisBus(url, SystemClock())
            await bus.start(Heard())
            assert "s3cret" not in repr(vars(bus))
            await bus.hold([Lease("org", "ann", "online", 1)])
            assert b"db3:keys=" in server.ask("INFO", "keyspace")
            await bus.close()
    finally:
        server.stop()
