"""Runs over REST and Server-Sent Events: ask and watch, watch, stop, answer, make again, choose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Response
from sse_starlette import ServerSentEvent

from madang.gateways.sse import EventStream
from madang.hub.hub import Member
from madang.model.identity import Identity
from madang.model.nouns import Message
from madang.model.runs import Run, agent_name
from madang.protocol.errors import NotFound
from madang.services.alternatives import ChooseAnswer, Regenerate, Regenerated
from madang.services.approvals import AnswerApproval
from madang.surfaces.agents import bodies
from madang.surfaces.agents.awaiting import answers_to
from madang.surfaces.agents.rest import Key, Parts, SessionPath
from madang.surfaces.agents.viewer import RunViewer
from madang.surfaces.agents.viewing import has_had_all, numbered, place_of, places_in
from madang.surfaces.content import sender_type
from madang.surfaces.requests import Caller, JsonResponse, MessagePath

LINE_END = "\n"
"""What a shell reads line by line has no carriage return at its end."""


def add_runs(routes: APIRouter, parts: Parts) -> None:
    """`/sessions/{session_id}/messages/stream`, and `/runs` and below."""
    store, writer = parts.store, parts.writer

    @routes.post("/sessions/{session_id}/messages/stream", response_model=None)
    async def ask(
        caller: Caller,
        session_id: SessionPath,
        body: bodies.NewMessage,
        idempotency_key: Key = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Send a message, and watch the answer. Whoever leaves stops nothing; a repeat (same
        `client_id` or `Idempotency-Key`) watches the first answer."""
        if body.stream is False:
            done = await parts.send(caller, session_id, body, idempotency_key)
            return await parts.sent(caller, session_id, done)
        place = place_of(last_event_id)
        user = await parts.watching.ready(caller)
        viewer = parts.watching.viewer(caller)

        async def asked() -> AsyncIterator[ServerSentEvent]:
            done = await parts.send(caller, session_id, body, idempotency_key)
            message = done.message
            runs: Sequence[Run] = ()
            places: Mapping[str, int] = {}
            waits = done.outside
            if done.event is None:
                answers = await answers_to(store, message, caller.user_id)
                runs, waits = answers.runs, answers.awaited is not None
                # Whoever asks something new has seen nothing of its answer, wherever they were.
                places = places_in(runs, place) if runs else {}
            elif done.runs:
                runs = await store.runs_answering(caller.org, session_id, message.id)
            if not runs and not waits:
                return _sent(message.id)
            return _told_of(parts, viewer, user, runs, places, message if waits else None)

        return EventStream(viewer, asked, send_timeout=parts.send_timeout, sep=LINE_END)

    @routes.get("/runs/{message_id}/stream", response_model=None)
    async def watch(
        caller: Caller,
        message_id: MessagePath,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """An answer under way or done: what came after `Last-Event-ID`, else from the start; 204
        where that was all of it, so that a browser's `EventSource` does not ask again."""
        run = await _run(parts, caller, message_id)
        places = places_in([run], place_of(last_event_id))
        if has_had_all(run, places):
            return Response(None, 204)
        user = await parts.watching.ready(caller)
        viewer = parts.watching.viewer(caller)
        told = _told_of(parts, viewer, user, [run], places, None)
        return EventStream(viewer, told, send_timeout=parts.send_timeout, sep=LINE_END)

    @routes.post("/runs/{message_id}/stop")
    async def stop(caller: Caller, message_id: MessagePath) -> Any:
        """The run ends as `cancelled`, its text kept. One that has ended stays as it is."""
        run = await _run(parts, caller, message_id)
        if not run.over:
            await parts.runner.stop(caller.org, message_id)
            run = await _run(parts, caller, message_id)
        return JsonResponse(_told(run))

    @routes.get("/runs/{message_id}")
    async def get_run(caller: Caller, message_id: MessagePath) -> Any:
        """How a run is."""
        return JsonResponse(_told(await _run(parts, caller, message_id)))

    @routes.post("/runs/{message_id}/regenerate", status_code=201)
    async def regenerate(
        caller: Caller,
        message_id: MessagePath,
        body: bodies.Again | None = None,
        idempotency_key: Key = None,
    ) -> Any:
        """Another answer to the same question, which counts from now on. A repeat (same
        `client_id` or `Idempotency-Key`) answers 200 with the first one, and asks nobody again."""
        key = idempotency_key if body is None else body.client_id or idempotency_key
        with parts.counting(caller):
            done: Regenerated = await writer.write(
                Regenerate(caller.org, message_id, caller.user_id, key, parts.run_limits)
            )
        return JsonResponse(_told(done.run), 200 if done.repeated else 201)

    @routes.post("/runs/{message_id}/choose")
    async def choose(caller: Caller, message_id: MessagePath) -> Any:
        """Of several answers to a question, this one counts."""
        parts.count_change(caller)
        await writer.write(ChooseAnswer(caller.org, message_id, caller.user_id))
        return JsonResponse(_told(await _run(parts, caller, message_id)))

    @routes.post("/runs/{message_id}/approvals/{request_id}")
    async def answer(
        caller: Caller, message_id: MessagePath, request_id: str, body: bodies.ApprovalAnswered
    ) -> Any:
        """Answer what a run asks. The first answer counts."""
        parts.count_change(caller)
        await writer.write(
            AnswerApproval(
                caller.org,
                message_id,
                request_id[:100],
                caller.user_id,
                body.answer,
                body.note,
                sender_type(caller),
            )
        )
        told = {"message_id": message_id, "request_id": request_id, "answer": body.answer}
        return JsonResponse(told)


async def _told_of(
    parts: Parts,
    viewer: RunViewer,
    user: Member,
    runs: Sequence[Run],
    places: Mapping[str, int],
    question: Message | None,
) -> AsyncIterator[ServerSentEvent]:
    """What is told of these runs, and of what else is going to answer the question."""
    room = question.conversation_id if question is not None else runs[0].conversation_id
    last = dict(places)
    async for frame in parts.watching.watch(viewer, user, room, runs, places, question):
        yield numbered(frame, last)
    if question is not None and viewer.gave_up and not viewer.runs:
        async for event in _sent(question.id):
            yield event


async def _sent(message_id: str) -> AsyncIterator[ServerSentEvent]:
    """Nobody answers: a person has taken over, somebody else was meant, or the agent outside has
    not begun."""
    told = orjson.dumps({"type": "message_sent", "message_id": message_id})
    yield ServerSentEvent(told.decode(), sep="\n")


async def _run(parts: Parts, caller: Identity, message_id: str) -> Run:
    run = await parts.store.run(caller.org, message_id, caller.user_id)
    if run is None:
        raise NotFound("Message not found")
    return run


def _told(run: Run) -> dict[str, Any]:
    return {
        "message_id": run.message_id,
        "session_id": run.conversation_id,
        "agent_id": agent_name(run.agent_id),
        "reply_to_id": run.question_id,
        "status": run.status,
        "tokens_used": run.tokens_used,
        "latency_ms": run.latency_ms,
    }
