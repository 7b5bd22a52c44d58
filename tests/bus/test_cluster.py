"""The bus on three masters: sharded channels, and what happens when one goes or a slot moves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from madang.bus.redis import RedisBus
from madang.bus.redis_servers import slot_of
from tests.bus.conftest import Ends, commit, confirmed, event
from tests.valkey import ValkeyCluster, wait_until


@pytest.fixture
async def cluster_ends(valkey_cluster: ValkeyCluster) -> AsyncIterator[Ends]:
    # Through any of them, and with a plain URL: what it is is found out.
    url = valkey_cluster.servers[1].url
    made = Ends("cluster", lambda clock, **settings: RedisBus(url, clock, **settings))
    yield made
    await made.close()


CHANNELS = [f"c{number}" for number in range(200)]


async def test_every_channel_is_sharded(cluster_ends: Ends, valkey_cluster: ValkeyCluster) -> None:
    one, _ = await cluster_ends.start()
    other, heard = await cluster_ends.start()
    for channel in CHANNELS:
        other.follow_conversation(channel)
    await other.follow_org("org")
    await confirmed(other)
    shares = [len(server.ask("PUBSUB", "SHARDCHANNELS")) for server in valkey_cluster.servers]
    nodes = 2  # Each has a channel of its own, on which it is asked.
    assert sum(shares) == 201 + nodes and min(shares) > 30
    assert all(server.ask("PUBSUB", "CHANNELS") == [] for server in valkey_cluster.servers)
    events = [event(n + 1, channel) for n, channel in enumerate(CHANNELS)]
    one.tell_commit(commit(0, *events), [])
    await heard.until(lambda: len(heard.all) == 201)
    assert sorted(heard.of("event"), key=lambda one: one.cursor) == events


@pytest.mark.parametrize("key", ["a", "conversation:c1", "x{tag}y", "{}x", "{tag", "a{}{b}", ""])
async def test_slots_are_the_servers(valkey_cluster: ValkeyCluster, key: str) -> None:
    assert slot_of(key.encode()) == valkey_cluster.servers[0].ask("CLUSTER", "KEYSLOT", key)


async def test_a_master_that_is_killed_is_only_a_delay(
    cluster_ends: Ends, valkey_cluster: ValkeyCluster
) -> None:
    one, heard_one = await cluster_ends.start()
    other, heard = await cluster_ends.start()
    for channel in CHANNELS:
        other.follow_conversation(channel)
    await confirmed(other)
    valkey_cluster.servers[1].kill()
    await heard.until(lambda: heard.kinds == ["lost"])
    await heard_one.until(lambda: heard_one.kinds == ["lost"])
    valkey_cluster.servers[1].start()
    await heard.until(lambda: heard.kinds == ["lost", "in"], 30)
    await heard_one.until(lambda: heard_one.kinds == ["lost", "in"], 30)
    one.tell_commit(commit(0, *[event(n + 1, name) for n, name in enumerate(CHANNELS)]), [])
    await heard.until(lambda: len(heard.of("event")) == 200)


async def test_a_slot_that_moves_takes_its_channels_along(
    cluster_ends: Ends, valkey_cluster: ValkeyCluster
) -> None:
    channel = "madang:conversation:c1"
    old = valkey_cluster.of(channel)
    new = next(server for server in valkey_cluster.servers if server is not old)
    old_id, new_id = old.ask("CLUSTER", "MYID"), new.ask("CLUSTER", "MYID")
    slot = str(slot_of(channel.encode()))
    one, heard_one = await cluster_ends.start()
    other, heard = await cluster_ends.start()
    other.follow_conversation("c1")
    await confirmed(other)
    try:
        for server in (new, old):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        await heard.until(lambda: heard.kinds == ["lost", "in"])
        wait_until(lambda: new.ask("PUBSUB", "SHARDNUMSUB", channel) == [channel.encode(), 1])
        one.tell_commit(commit(0, event(1)), [])  # It learns of it by this, if not before.
        await heard_one.until(lambda: heard_one.kinds[-1:] == ["in"])
        one.tell_commit(commit(1, event(2)), [])
        await heard.until(lambda: event(2) in heard.of("event"))
    finally:
        for server in (old, new):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", old_id)
        for server in valkey_cluster.servers:
            wait_until(
                lambda server=server: any(  # type: ignore[misc]
                    first <= int(slot) <= last and master[2] == old_id
                    for first, last, master, *_ in server.ask("CLUSTER", "SLOTS")
                )
            )
