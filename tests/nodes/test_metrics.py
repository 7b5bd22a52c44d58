"""What a node says of its work is what its clients and its database saw of it, to the last one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.conftest import Server
from tests.gateways.hostile import upgrade_request
from tests.gateways.test_leaving import deaf
from tests.nodes.reading import Reading, look
from tests.postgres import Postgres
from tests.surfaces.people import Frame, House, Socket
from tests.valkey import Valkey

MESSAGES = 25
EVENTS = ("message.new", "conversation.created", "message.edited")
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

OpenHouse = Callable[..., House]


def events(frames: list[Frame]) -> int:
    return sum(frame["type"] in EVENTS for frame in frames)


async def received(*sockets: Socket) -> int:
    """The events that all of these got since they were last asked."""
    return sum([events(await socket.so_far()) for socket in sockets])


def grown(name: str, before: Reading, after: Reading, **labels: str) -> float:
    return after.sum(name, **labels) - before.sum(name, **labels)


async def test_deliveries_are_the_frames_that_clients_got(open_house: OpenHouse) -> None:
    async with open_house() as house:
        ann, anns_phone, bob = [await house.device(user) for user in ("ann", "ann", "bob")]
        before = await look(house.server.url)
        group = await house.group("ann", "bob", "cat")
        for number in range(MESSAGES):
            await ann.ask("message.send", conversation_id=group, content=f"n{number}")
        # A reply that is the event itself counts once for each who gets it, in whatever form.
        sent = await bob.ask("message.send", conversation_id=group, content="wrogn")
        await bob.ask("message.edit", message_id=sent["data"]["id"], content="wrong")
        got = await received(ann, anns_phone, bob)
        after = await look(house.server.url)

        assert got == 3 * (1 + MESSAGES + 2) - 1, "bob's edit came as its reply, already taken"
        assert grown("madang_deliveries_total", before, after) == got + 1
        told = MESSAGES + 3
        assert grown("madang_delivery_seconds_count", before, after) == told
        assert 0 < grown("madang_delivery_seconds_sum", before, after) < told


async def test_each_write_is_in_one_commit_and_is_acknowledged_once(open_house: OpenHouse) -> None:
    async with open_house() as house:
        ann = await house.device("ann")
        before = await look(house.server.url)
        group = await house.group("ann", "bob")
        for number in range(MESSAGES):
            # One after the other: nothing gathers, so there is one commit for each.
            await ann.ask("message.send", conversation_id=group, content=f"n{number}")
        alone = await look(house.server.url)
        writes = MESSAGES + 1
        for counted in ("commit_seconds_count", "commit_writes_count", "commit_writes_sum"):
            assert grown(f"madang_{counted}", before, alone) == writes, counted
        assert grown("madang_commit_writes_bucket", before, alone, le="1.0") == writes
        assert grown("madang_ack_seconds_count", before, alone) == writes
        assert grown("madang_ack_seconds_bucket", before, alone, le="+Inf") == writes

        for number in range(MESSAGES):
            await ann.send("message.send", id=f"m{number}", conversation_id=group, content="x")
        for number in range(MESSAGES):
            await ann.next("message.sent", reply_to=f"m{number}")
        await ann.ask("message.send", conversation_id=group, content=" ")
        other = "00000000-0000-7000-8000-000000000000"
        await ann.ask("message.send", conversation_id=other, content="to nobody")
        after = await look(house.server.url)
        # Empty content is refused before it is a write, a strange conversation in the commit.
        assert grown("madang_commit_writes_sum", alone, after) == MESSAGES + 1
        assert grown("madang_ack_seconds_count", alone, after) == MESSAGES + 1
        assert grown("madang_writes_refused_total", alone, after) == 1
        refused = grown("madang_writes_refused_total", alone, after, code="NOT_A_PARTICIPANT")
        assert refused == 1
        commits = grown("madang_commit_writes_count", alone, after)
        assert commits == grown("madang_commit_seconds_count", alone, after) <= MESSAGES + 1
        assert after.sum("madang_writes_waiting") == 0


async def test_connections_by_where_they_came_in(open_house: OpenHouse) -> None:
    async with open_house() as house:
        before = await look(house.server.url)
        ann = await house.device("ann")
        await house.device("bob")
        token = house.token("cat")
        stream = f"{house.server.url}/api/v1/events/stream?token={token}"
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("GET", stream) as answer,
        ):
            assert answer.status_code == 200
            refused = await house.connect(token="no.token.atall")
            assert (await refused.closed())[0] == 1008
            here = await look(house.server.url)
            assert here.sum("madang_connections") == 3
            assert here.sum("madang_connections", surface="messenger") == 2
            assert here.sum("madang_connections", gateway="sse", surface="events") == 1
            assert here.sum("madang_connections_closed_total", code="1008") == 1
            assert here.sum("madang_connections_closed_total", reason="not_allowed") == 1
            assert grown("madang_connections_opened_total", before, here) == 4
            assert here.sum("madang_users") == 3
        await ann.close()
        after = await look(house.server.url)
        while after.sum("madang_connections") != 1:
            after = await look(house.server.url)
        assert after.sum("madang_connections_closed_total", code="4008") == 0


async def test_catching_up_and_signals_are_counted(open_house: OpenHouse) -> None:
    async with open_house() as house:
        ann, bob = [await house.device(user) for user in ("ann", "bob")]
        cursor = bob.connected["cursor"]
        await bob.close()
        group = await house.group("ann", "bob")
        for number in range(MESSAGES):
            await house.say("ann", group, f"n{number}")
        before = await look(house.server.url)
        bob = await house.device("bob", live=False)
        await bob.send("resume", id="r", cursor=cursor)
        caught = await bob.next(reply_to="r")
        assert caught["recovered"] is True
        assert events(await bob.so_far()) == MESSAGES + 1
        await bob.ask("resume", cursor=caught["cursor"] + 10**12)
        after = await look(house.server.url)
        assert grown("madang_catchups_total", before, after, outcome="recovered") == 1
        assert grown("madang_catchups_total", before, after, outcome="unknown_cursor") == 1
        assert grown("madang_catchup_events_total", before, after) == MESSAGES + 1
        assert grown("madang_deliveries_total", before, after) == 0

        await ann.so_far()
        before = await look(house.server.url)
        await bob.send("typing.start", conversation_id=group)
        await ann.next("typing.start", user_id="bob")
        after = await look(house.server.url)
        assert grown("madang_signals_total", before, after) == 1


async def test_answers_by_class_of_status_and_reads(open_house: OpenHouse) -> None:
    async with open_house() as house:
        before = await look(house.server.url)
        rest = house.rest("ann")
        for _ in range(3):
            assert (await rest.get("/conversations")).status_code == 200
        assert (await rest.get("/nothing-here")).status_code == 404
        after = await look(house.server.url)
        # The look before is counted when it has been answered.
        assert grown("madang_http_responses_total", before, after, status="2xx") == 3 + 1
        assert grown("madang_http_responses_total", before, after, status="4xx") == 1
        assert grown("madang_store_read_seconds_count", before, after) >= 3


async def test_every_series_has_its_node_and_stands_in_the_manual(server: Server) -> None:
    reading = await look(server.url)
    (node,) = reading.nodes()
    assert node is not None and node.endswith(f":{server.port}")
    named = set(re.findall(r"^\| `(madang_\w+)`", OPERATIONS.read_text("utf-8"), re.MULTILINE))
    told = {
        name + ("_total" if kind == "counter" else "")
        for name, kind in reading.families.items()
        if name.startswith("madang_")
    }
    assert named == told


async def test_metrics_can_be_turned_off_and_the_node_can_be_named(
    make_server: Callable[..., Server],
) -> None:
    silent = make_server(metrics="false")
    async with silent.rest("ann") as client:
        assert (await client.get("/metrics")).status_code == 404
    named = make_server(node_name="courtyard-1")
    assert (await look(named.url)).nodes() == {"courtyard-1"}


async def test_a_slow_reader_is_counted(open_house: OpenHouse) -> None:
    async with open_house(output_limit_bytes=str(64 * 1024)) as house:
        group = await house.group("ann", "bob")
        ann = await house.device("ann")
        # With its cursor it is live at once: nothing is held for it.
        cursor = ann.connected["cursor"]
        target = f"/api/v1/messenger/ws?token={house.token('bob')}&cursor={cursor}"
        async with await deaf(house, upgrade_request(target)):
            await ann.next("user.online", user_id="bob")
            queued = 0.0
            reading = await look(house.server.url)
            while reading.sum("madang_connections_closed_total", reason="too_slow") == 0:
                await house.say("ann", group, "x" * 30_000)
                reading = await look(house.server.url)
                queued = max(queued, reading.sum("madang_unsent_bytes"))
            assert queued > 0
        assert reading.sum("madang_connections_closed_total", code="4008") == 1


async def test_two_nodes_count_what_they_told_each_other(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> None:
    shared = {
        "database_url": postgres.fresh_database()[1],
        "redis_url": valkey_session.url,
        "redis_prefix": f"{tmp_path.name}:",
    }
    nodes = [Server(tmp_path / name, dev=False, **shared) for name in ("one", "two")]
    with contextlib.ExitStack() as ended:
        for node in nodes:
            ended.callback(node.stop)
            node.start()
        async with House(nodes[0], "town") as here, House(nodes[1], "town") as there:
            ann, bob = await here.device("ann"), await there.device("bob")
            group = await here.group("ann", "bob")
            before = [await look(node.url) for node in nodes]
            for number in range(MESSAGES):
                await ann.ask("message.send", conversation_id=group, content=f"n{number}")
            for number in range(MESSAGES):
                await bob.next("message.new", data={"content": f"n{number}"})
            one, two = [await look(node.url) for node in nodes]
        for reading in (one, two):
            assert reading.sum("madang_bus_up") == reading.sum("madang_bus_shared") == 1
        assert grown("madang_commit_writes_count", before[0], one) == MESSAGES
        assert grown("madang_bus_lag_seconds_count", before[0], one) == 0
        assert grown("madang_commit_writes_count", before[1], two) == 0
        assert grown("madang_bus_lag_seconds_count", before[1], two) == MESSAGES
        for at, reading in zip(before, (one, two), strict=True):
            assert grown("madang_deliveries_total", at, reading) == MESSAGES
            assert grown("madang_delivery_seconds_count", at, reading) == MESSAGES
            assert grown("madang_gaps_healed_total", at, reading) == 0
        assert one.nodes() != two.nodes()
