"""A phone that slept gets everything it missed, and nothing that is not, or no longer, its own."""

from __future__ import annotations

from tests.surfaces.live.hall import Hall, id_of, plain, seat_of
from tests.surfaces.live.test_talking import everyone
from tests.surfaces.people import Frame, Socket


async def replayed(socket: Socket) -> list[Frame]:
    """What came before `resumed`."""
    resumed = await socket.next("resumed")
    assert resumed["recovered"] is True
    frames, socket.waiting = socket.waiting, []
    assert resumed["events"] == len(frames), frames
    return frames


async def test_everything_missed_comes_in_order(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    slept_at = (await ben.ask("chat_message", content="good night"))["cursor"]
    seat = seat_of(ben)
    await ben.close()
    await host.next("participant_left", participant_id=id_of(ben))
    await ann.ask("chat_message", content="one")
    question = await hall.question(ann, "two?")
    await ann.ask("question_vote", message_id=question, up=True)
    await host.next("question_update", message_id=question, votes=1)
    await host.ask("question_state", message_id=question, state="live")
    poll = await host.ask("poll_open", question="three?", kind="single", options=["a", "b"])
    await ann.ask("poll_vote", message_id=poll["message_id"], choices=[1])
    await host.next("poll_update", voters=1)
    await host.ask("poll_close", message_id=poll["message_id"])
    await ann.ask("participant_update", nickname="Ann")
    await host.ask("moderate", action="mute", participant_id=id_of(ann))
    await hall.as_host("PATCH", body={"status": "paused"})
    await ann.next("session_update")
    for by in ("query", "frame"):
        back = await hall.enter(
            seat, live=False, query=f"cursor={slept_at}" if by == "query" else ""
        )
        if by == "frame":
            await back.send("resume", cursor=slept_at, epoch=back.connected["epoch"])
        frames = await replayed(back)
        kinds = [frame["type"] for frame in frames]
        assert kinds == [
            "chat_message",
            "question",
            "question_update",
            "question_update",
            "poll_open" if kinds[4] == "poll_open" else "poll_closed",
            "poll_update",
            "poll_closed",
            "participant_update",
            "participant_update",
            "session_update",
        ], kinds
        assert [frame["cursor"] for frame in frames] == sorted(frame["cursor"] for frame in frames)
        assert frames[1]["votes"] == 1, "as it is now"
        assert frames[6]["counts"] == [0, 1]
        assert frames[8]["is_muted"] is True
        assert frames[9]["status"] == "paused"
        await back.close()


async def test_a_host_that_slept_gets_the_hosts_view(hall: Hall) -> None:
    await hall.as_host("PATCH", body={"settings": {"questions_need_approval": True}})
    host, ann, ben = await everyone(hall)
    slept_at = (await host.ask("chat_message", content="back soon"))["cursor"]
    await host.close()
    await ann.next("participant_left", participant_id=id_of(host))
    waiting = await hall.question(ann, "waiting", anonymous=True)
    back = await hall.enter(
        {"participant_id": id_of(host), "token": hall.host_token},
        live=False,
        query=f"cursor={slept_at}",
    )
    frames = await replayed(back)
    assert [(f["message_id"], f["participant_id"]) for f in frames if f["type"] == "question"] == [
        (waiting, id_of(ann))
    ]
    assert (await ben.ask("ping"))["type"] == "pong"


async def test_what_is_hidden_is_in_no_replay(hall: Hall) -> None:
    await hall.as_host("PATCH", body={"settings": {"questions_need_approval": True}})
    host, ann, ben = await everyone(hall)
    begin = (await ben.ask("chat_message", content="begin"))["cursor"]
    waiting = await hall.question(ann, "secret waiting")
    shown = await hall.question(ann, "secret shown and dismissed")
    seen = await hall.question(ann, "seen", anonymous=True)
    for question in (shown, seen):
        await host.ask("question_state", message_id=question, state="approved")
        await ben.next("question", message_id=question)
    await host.ask("question_state", message_id=shown, state="dismissed")
    await ben.next("question_update", message_id=shown, state="dismissed")
    # From memory, and, after so much that no memory holds it all, from the log.
    for _ in range(2):
        for person, sees in ((ben, False), (ann, True)):
            again = await hall.enter(seat_of(person), live=False, query=f"cursor={begin}")
            frames = await replayed(again)
            assert ("secret waiting" in str(frames)) is sees
            assert ("secret shown" in str(frames)) is sees
            told = [f for f in frames if f["type"] == "question" and f["message_id"] == seen]
            assert told and told[0]["content"] == "seen"
            assert (id_of(ann) in str(told)) is sees
            if not sees:
                assert waiting not in str(frames)
            await again.close()
        for number in range(300):
            await host.send("chat_message", content=f"filler {number}")
        await host.next("chat_message", content="filler 299")
        await ben.next("chat_message", content="filler 299")


async def test_live_and_replayed_frames_are_the_same(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    begin = (await ben.ask("chat_message", content="begin"))["cursor"]
    for number in range(5):
        await ann.ask("chat_message", content=f"m{number}")
    await hall.question(host, "and a question")
    told = [frame for frame in await ben.so_far() if frame["cursor"] > begin]
    again = await hall.enter(seat_of(ben), live=False, query=f"cursor={begin}")
    assert [plain(frame) for frame in await replayed(again)] == [plain(f) for f in told]


async def test_a_cursor_of_another_log_is_not_recovered(hall: Hall) -> None:
    ann = await hall.guest("ann")
    answer = await ann.ask("resume", cursor=ann.connected["cursor"], epoch="other")
    assert (answer["recovered"], answer["reason"]) == (False, "other_epoch")
    again = await hall.enter(seat_of(ann), live=False, query="cursor=1&epoch=other")
    assert (await again.next("resumed"))["recovered"] is False
    wrong = await hall.enter(seat_of(ann), live=False, query="cursor=yesterday")
    assert (await wrong.next("error"))["message"] == "cursor: must be a number"
    assert (await wrong.ask("ping"))["type"] == "pong"


async def test_coming_and_going_is_replayed_but_not_ones_own(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    begin = (await ben.ask("chat_message", content="begin"))["cursor"]
    await ben.close()
    await host.next("participant_left", participant_id=id_of(ben))
    cy = await hall.guest("cy")
    await host.next("participant_joined", participant_id=id_of(cy))
    await cy.close()
    await host.next("participant_left", participant_id=id_of(cy))
    again = await hall.enter(seat_of(ben), live=False, query=f"cursor={begin}")
    frames = await replayed(again)
    assert [(frame["type"], frame["participant_id"]) for frame in frames] == [
        ("participant_joined", id_of(cy)),
        ("participant_left", id_of(cy)),
    ]
    assert (await ann.ask("ping"))["type"] == "pong"
