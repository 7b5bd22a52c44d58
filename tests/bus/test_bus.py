"""What every bus keeps to, in memory, on one server and on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from madang.model.nouns import Event
from madang.ports.bus import Lease, Note, PresenceTold, RunTold, SignalTold, Turn
from madang.protocol.errors import Unavailable
from tests.bus.conftest import Ends, commit, confirmed, event


async def test_a_commit_is_heard_by_who_follows_it_and_its_note_last(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    other.follow_conversation("c1")
    other.follow_user("org", "bob")
    await other.follow_org("org")
    await confirmed(other)
    first, second = event(11, "c1"), event(12, "c2")
    one.tell_commit(commit(10, first, second), [("bob", second), ("eve", second)])
    await heard.until(lambda: len(heard.all) == 3)
    assert sorted(heard.of("event"), key=lambda e: e.cursor) == [first, second]
    assert heard.of("note") == [
        Note("org", 10, 12, [("c1", 1), ("c2", 1)], [("bob", 12), ("eve", 12)])
    ]
    if ends.kind != "cluster":
        assert heard.kinds == ["event", "event", "note"]


async def test_each_hears_what_it_follows_and_no_more(ends: Ends) -> None:
    one, own = await ends.start()
    all_, heard_all = await ends.start()
    less, heard_less = await ends.start()
    for end in (one, all_, less):
        await end.follow_org("org")
        end.follow_conversation("c1")
    all_.follow_conversation("c2")
    for end in (one, all_, less):
        await confirmed(end)
    one.tell_commit(commit(0, event(1, "c2"), event(2, "c1")), [])
    await heard_all.until(lambda: len(heard_all.all) == 3)
    await heard_less.until(lambda: len(heard_less.all) == 2)
    assert [one.conversation_id for one in heard_less.of("event")] == ["c1"]
    assert own.all == []  # Not even what it follows itself.


async def test_who_no_longer_follows_hears_no_more(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    await other.follow_org("org")
    other.follow_conversation("c1")
    other.follow_user("org", "bob")
    await confirmed(other)
    other.unfollow_conversation("c1")
    other.unfollow_conversation("never followed")
    other.unfollow_user("org", "bob")
    other.unfollow_user("org", "never followed")
    one.tell_commit(commit(0, event(1)), [("bob", event(1))])
    await heard.note(1)
    await confirmed(one)
    await confirmed(other)
    assert heard.kinds == ["note"]
    other.follow_conversation("c1")
    other.unfollow_conversation("c1")
    other.follow_conversation("c1")
    await confirmed(other)
    one.tell_commit(commit(1, event(2)), [])
    await heard.until(lambda: heard.of("event") == [event(2)])
    other.unfollow_org("org")
    one.tell_commit(commit(2, event(3)), [])
    await heard.until(lambda: heard.of("event") == [event(2), event(3)])
    await confirmed(other)
    assert len(heard.of("note")) <= 2


async def test_what_was_on_its_way_is_not_heard_after_letting_go(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    other.follow_conversation("c1")
    other.follow_user("org", "bob")
    await confirmed(other)
    hear = heard.heard_events

    def let_go(org_id: str, events: Sequence[Event]) -> None:
        hear(org_id, events)
        other.unfollow_conversation("c1")

    heard.heard_events = let_go  # type: ignore[method-assign]
    for number in range(1, 11):  # Told together, so that they arrive together.
        one.tell_commit(commit(number - 1, event(number)), [])
    await confirmed(one)
    await confirmed(other)
    await heard.until(lambda: heard.of("event") == [event(1)])


async def test_users_of_the_same_name_in_two_orgs_are_two(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    other.follow_user("org", "bob")
    other.follow_user("another", "bob")
    other.unfollow_user("another", "bob")
    await confirmed(other)
    theirs, ours = event(1, org_id="another"), event(2)
    one.tell_commit(commit(0, theirs), [("bob", theirs)])
    one.tell_commit(commit(1, ours), [("bob", ours)])
    await heard.until(lambda: heard.all == [("event", ours)])


async def test_signals_go_to_the_conversation_and_presence_to_the_org(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    await other.follow_org("org")
    other.follow_conversation("c1")
    await confirmed(other)
    typing = SignalTold("c1", '{"type":"typing","who":"안나 \\"A\\""}'.encode(), "ann")
    change = PresenceTold("ann", b'{"type":"user.online"}', ["c1", "c2"])
    one.tell_signal("org", SignalTold("c2", b"{}"))
    one.tell_signal("org", typing)
    progress = SignalTold("c1", b'{"type":"upload.progress"}', only_user_id="ann")
    one.tell_signal("org", progress)
    coming = SignalTold("c1", b'{"event":"user_joined"}', "ann", dialect=4, at=7)
    one.tell_signal("org", coming)
    one.tell_presence("org", [change])
    await heard.until(lambda: len(heard.all) == 4)
    assert heard.of("signal") == [("org", typing), ("org", progress), ("org", coming)]
    assert heard.of("presence") == [("org", change)]


async def test_chunks_of_a_run_go_to_the_conversation(ends: Ends) -> None:
    one, own = await ends.start()
    other, heard = await ends.start()
    for end in (one, other):
        end.follow_conversation("c1")
        await confirmed(end)
    first = RunTold("c1", "m1", 0, 0, '말 "\\"\u2028')
    second = RunTold("c1", "m1", 1, 6, "", {"step": 1, "kind": "thinking"})
    one.tell_run("org", RunTold("c2", "m2", 0, 0, "elsewhere"))
    one.tell_run("org", first)
    one.tell_run("org", second)
    await heard.until(lambda: len(heard.all) == 2)
    assert heard.of("run") == [("org", first), ("org", second)]
    assert own.all == []


async def test_one_node_asks_another(ends: Ends) -> None:
    one, _ = await ends.start()
    other, heard = await ends.start()
    await confirmed(other)
    asked = [one.ask(other.node, "text", {"n": number, "말": "씀"}, 10) for number in range(20)]
    assert await asyncio.gather(*asked) == [{"echo": {"n": n, "말": "씀"}} for n in range(20)]
    assert heard.of("asked")[0] == ("text", {"n": 0, "말": "씀"})
    with pytest.raises(Unavailable):
        await one.ask(other.node, "nothing", None, 10)
    with pytest.raises(Unavailable):
        await one.ask("no such node", "text", None, 0.05)


async def test_the_best_lease_of_all_nodes_is_how_a_user_is(ends: Ends) -> None:
    one, _ = await ends.start()
    other, _ = await ends.start()
    assert await one.hold(
        [
            Lease("org", "ann", "away", 1),
            Lease("o:r", "g:ann", "dnd", 2),
            Lease("o", "x", "away", 0),
        ]
    ) == [
        Turn("org", "ann", "offline", "away"),
        Turn("o:r", "g:ann", "offline", "dnd"),
        Turn("o", "x", "offline", "offline"),
    ]
    assert await other.hold([Lease("org", "ann", "online", 2)]) == [
        Turn("org", "ann", "away", "online")
    ]
    assert await one.present("org", ["ann", "bob"]) == {"ann": Lease("org", "ann", "online", 3)}
    assert await one.present("o", ["r:g:ann"]) == {}
    assert await one.present("o:r", ["g:ann"]) == {"g:ann": Lease("o:r", "g:ann", "dnd", 2)}
    assert await other.hold([Lease("org", "ann", "online", 0)]) == [
        Turn("org", "ann", "online", "away")
    ]
    await one.hold([Lease("org", "ben", "online", 2, ("busan", "seoul"))])
    await other.hold([Lease("org", "ben", "away", 1, ("jeju",))])
    assert await other.online("org") == {
        "ann": Lease("org", "ann", "away", 1),
        "ben": Lease("org", "ben", "online", 3, ("busan", "jeju", "seoul")),
    }
    assert await other.online("o:r") == {"g:ann": Lease("o:r", "g:ann", "dnd", 2)}
    assert await other.online("nowhere") == {}
    assert await other.present("org", []) == {}
    await one.close()
    async with asyncio.timeout(20):
        turns: list[Turn] = []
        while await other.present("org", ["ann"]):
            turns += await other.expired()
    assert list(await other.online("org")) == ["ben"]


async def test_nothing_is_held_when_the_last_lease_of_a_user_ends(ends: Ends) -> None:
    one, _ = await ends.start()
    await one.hold([Lease("org", "ann", "online", 1)])
    await one.hold([Lease("org", "ann", "online", 1), Lease("org", "ann", "offline", 0)])
    assert await one.present("org", ["ann"]) == {}
    assert await one.expired() in ([], ())


async def test_thousands_of_leases_at_once(ends: Ends) -> None:
    one, _ = await ends.start()
    names = [f"user-{number}" for number in range(3000)]
    turns = await one.hold([Lease("org", name, "online", 1) for name in names])
    assert turns == [Turn("org", name, "offline", "online") for name in names]
    assert len(await one.present("org", names)) == 3000


async def test_limits_are_shared(ends: Ends) -> None:
    one, _ = await ends.start()
    other, _ = await ends.start()
    spent = await one.spend({"ann": 3, "bob": 0}, 10.0)
    assert 29.9 < spent["ann"] <= 30.0
    assert spent["bob"] == 0
    assert 49.5 < (await other.spend({"ann": 2}, 10.0))["ann"] <= 50.0
    assert 39.0 < (await one.spend({"ann": -1}, 10.0))["ann"] <= 40.0
    # More than was used is given back: the allowance is full, and no fuller.
    assert (await other.spend({"ann": -5}, 10.0))["ann"] == 0
    assert 9.5 < (await one.spend({"ann": 1}, 10.0))["ann"] <= 10.0


async def test_nodes_agree_on_what_one_said_first(ends: Ends) -> None:
    one, _ = await ends.start()
    other, _ = await ends.start()
    name = f"keys of {one.node}"
    assert await one.agree(name, "these", 60)
    assert await other.agree(name, "these", 60)
    assert not await other.agree(name, "others", 60)
    assert await one.agree(name, "these", 60)


async def test_one_node_owns_a_name_until_it_lets_go(ends: Ends) -> None:
    one, _ = await ends.start()
    other, _ = await ends.start()
    name = f"run:{one.node}"
    assert await one.owner(name) is None
    won = await asyncio.gather(one.acquire(name, 60), other.acquire(name, 60))
    assert list(won) == [True, False]
    assert await one.acquire(name, 60)
    await other.release(name)
    assert await other.owner(name) == one.node
    await one.release(name)
    assert await other.acquire(name, 60)
    await other.release(name)


async def test_many_names_are_acquired_at_once(ends: Ends) -> None:
    one, _ = await ends.start()
    other, _ = await ends.start()
    names = [f"run:{one.node}:{number}" for number in range(1_203)]
    assert await other.acquire(names[700], 60)
    won = await one.acquire_all(names, 60)
    assert [number for number, mine in enumerate(won) if not mine] == [700]
    assert await one.owner(names[-1]) == await other.owner(names[0]) == one.node
    assert list(await one.acquire_all(names[:3], 60)) == [True] * 3
    assert list(await one.acquire_all([], 60)) == []
    for name in names:
        await one.release(name)
    await other.release(names[700])
