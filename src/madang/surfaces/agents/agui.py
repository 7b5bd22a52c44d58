"""AG-UI (docs.ag-ui.com): `POST /api/agui/{agent}` takes a `RunAgentInput` and answers with the
protocol's events over Server-Sent Events, so that its clients work with any agent on offer.

A thread is a session: the one of that id, if the caller is in it, else one that the caller's first
run makes. Its history is the server's; of what the client sends the last message of the user is
taken, once by its id. What a run asks people is an interrupt, answered by the `resume` of the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent

from madang.gateways.sse import EventStream, data_of
from madang.hub.frame import Frame
from madang.model.identity import Identity
from madang.model.ids import parse_uuid
from madang.model.runs import Run, is_own_agent
from madang.protocol.errors import Conflict, Invalid, NotFound
from madang.services.approvals import AnswerApproval
from madang.services.sessions import CreateSession
from madang.surfaces.agents import bodies
from madang.surfaces.agents.rest import Parts
from madang.surfaces.content import sender_type
from madang.surfaces.fields import Text, error_of
from madang.surfaces.requests import Caller

MOST_PLAIN_ID = 160
"""Characters of a message's id that stands in a `client_id` as it is."""
Name = Annotated[Text, Field(min_length=1, max_length=200)]


class _Given(BaseModel):
    """What a client of AG-UI sends. Newer ones may send more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Said(_Given):
    id: Name
    role: str
    content: Any = None


class Resume(_Given):
    interruptId: Annotated[str, Field(max_length=300)]
    status: Literal["resolved", "cancelled"] = "resolved"
    payload: Any = None


class RunInput(_Given):
    threadId: Name
    runId: Name
    messages: Annotated[list[Said], Field(max_length=10_000)] = Field(default_factory=list)
    resume: Annotated[list[Resume], Field(max_length=20)] | None = None


def add_agui(routes: APIRouter, parts: Parts) -> None:
    """`/api/agui/{agent}`."""

    @routes.post("/{agent}")
    async def run_agent(caller: Caller, agent: str, body: RunInput) -> EventSourceResponse:
        """Run an agent, as the AG-UI protocol says."""
        offered = parts.catalog.get(agent)
        if offered is None or not is_own_agent(offered.user_id):
            raise NotFound("Agent not found")
        user = await parts.watching.ready(caller)
        viewer = parts.watching.viewer(caller)
        thread = _Thread(parts, caller, offered.user_id, body.threadId, agent)

        async def asked() -> AsyncIterator[ServerSentEvent]:
            run: Run | None
            place: int | None = None
            if body.resume:
                run, place = await _resumed(thread, body.resume)
            else:
                run = await _asked(thread, body.messages)
            telling = Telling(body.threadId, body.runId, place)
            if run is None:
                return _nobody_asked(telling)
            places = {} if place is None else {run.message_id: place}
            watched = parts.watching.watch(viewer, user, run.conversation_id, [run], places)
            return _events(telling, watched)

        # The protocol's clients part events at plain line feeds.
        return EventStream(viewer, asked, send_timeout=parts.send_timeout, sep="\n")


@dataclass(frozen=True, slots=True)
class _Thread:
    """What the caller calls a thread, with an agent that is on offer as `agent`."""

    parts: Parts
    caller: Identity
    agent_user: str
    thread_id: str
    agent: str

    @property
    def key(self) -> str:
        """That of the session that the caller's first run makes."""
        told = orjson.dumps([self.agent, self.caller.user_id, self.thread_id])
        return f"agui:{hashlib.sha256(told).hexdigest()}"

    async def session(self) -> str:
        """Its session: the one of that id, else the caller's own, made where there is none."""
        parts, caller = self.parts, self.caller
        known = parse_uuid(self.thread_id)
        if known is not None:
            seen = await parts.store.session(caller.org, known, caller.user_id)
            if seen is not None:
                if seen.session.agent_id != self.agent_user:
                    raise Conflict("The thread is a session of another agent")
                return known
        opened = await parts.writer.write(
            CreateSession(
                caller.org,
                caller.user_id,
                self.agent_user,
                metadata={"thread_id": self.thread_id},
                when_busy=parts.when_busy,
                key=self.key,
            )
        )
        return str(opened.conversation.id)

    async def run(self, message_id: str) -> Run | None:
        """A run of it."""
        caller, store = self.caller, self.parts.store
        run = await store.run(caller.org, message_id, caller.user_id)
        if run is None:
            return None
        seen = await store.session(caller.org, run.conversation_id, caller.user_id)
        if seen is None or seen.session.agent_id != self.agent_user:
            return None
        own = run.conversation_id == parse_uuid(self.thread_id)
        return run if own or seen.view.conversation.direct_key == self.key else None


async def _asked(thread: _Thread, messages: Sequence[Said]) -> Run | None:
    """The run that answers the last message of the user. What is no message, or one too many,
    makes no session."""
    said = next((one for one in reversed(messages) if one.role == "user"), None)
    if said is None:
        raise Invalid("messages: there is none of the user")
    try:
        message = bodies.NewMessage(content=_text(said.content), client_id=_client_id(said.id))
    except ValidationError as error:
        raise error_of(error.errors(include_url=False)) from None
    parts, caller = thread.parts, thread.caller
    parts.admit(caller, message)
    session_id = await thread.session()
    done = await parts.send_admitted(caller, session_id, message, None)
    runs = await parts.store.runs_answering(caller.org, session_id, done.message.id)
    return runs[-1] if runs else None


def _client_id(message_id: str) -> str:
    """One for each of the client's ids, however long."""
    if len(message_id) > MOST_PLAIN_ID:
        message_id = f"sha256:{hashlib.sha256(message_id.encode()).hexdigest()}"
    return f"agui:{message_id}"


def _text(content: Any) -> str:
    """A message's text: itself, or the texts among its parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    raise Invalid("messages: the content is no text")


async def _resumed(thread: _Thread, entries: Sequence[Resume]) -> tuple[Run, int]:
    """The run that waited for these answers, and the number of the last chunk that was told."""
    parts, caller = thread.parts, thread.caller
    answers: list[AnswerApproval] = []
    found: tuple[Run, int] | None = None
    # All of them are understood before the first one counts.
    for entry in entries:
        message_id, place, request_id = _interrupt(entry.interruptId)
        answer = _answer(entry)
        run = await thread.run(message_id)
        if run is None:
            raise NotFound("Interrupt not found")
        answers.append(
            AnswerApproval(
                caller.org,
                message_id,
                request_id,
                caller.user_id,
                answer,
                sender_type=sender_type(caller),
            )
        )
        found = (run, place)
    if found is None:
        raise Invalid("resume: there is nothing to resume")
    for answered in answers:
        parts.count_change(caller)
        await parts.writer.write(answered)
    return found


def _answer(entry: Resume) -> str:
    """The option that was meant: the one that is named, or what yes and no stand for. Nothing else
    is taken for a yes.

    Raises:
        Invalid: it says neither.
    """
    if entry.status == "cancelled":
        return "deny"
    said = entry.payload
    if isinstance(said, Mapping):
        named = [said[name] for name in ("answer", "approved") if name in said]
        said = named[0] if len(named) == 1 else None
    if isinstance(said, str) and said and len(said) <= 100:
        return said
    if isinstance(said, bool):
        return "approve" if said else "deny"
    raise Invalid("resume: the payload must be an option, true or false")


def _interrupt(given: str) -> tuple[str, int, str]:
    message_id, _, rest = given.partition(":")
    place, _, request_id = rest.partition(":")
    known = parse_uuid(message_id)
    try:
        number = int(place)
    except ValueError:
        known = None
    if known is None:
        raise NotFound("Interrupt not found")
    return known, max(-1, number), request_id


async def _nobody_asked(telling: Telling) -> AsyncIterator[ServerSentEvent]:
    """A person has taken over, or somebody else was meant."""
    yield _event(telling.started())
    yield _event({**telling.place, "type": "RUN_FINISHED", "outcome": {"type": "success"}})


async def _events(
    telling: Telling, watched: AsyncIterator[Frame]
) -> AsyncIterator[ServerSentEvent]:
    yield _event(telling.started())
    async for frame in watched:
        for told in telling.tell(frame.content):
            yield _event(told)
        if telling.over:
            await watched.aclose()  # type: ignore[attr-defined]
            return
    if not telling.over:
        # Sent away, by a server that stops or for being too slow.
        yield _event(telling.failed("The stream was cut: run again", "INTERRUPTED"))


def _event(told: Mapping[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(data_of(orjson.dumps(told)), sep="\n")


class Telling:
    """What is told of a run, in the words of AG-UI. Pure: frames in, events out."""

    def __init__(self, thread_id: str, run_id: str, after: int | None) -> None:
        self.place = {"threadId": thread_id, "runId": run_id}
        self.over = False
        self._after = after
        self._index = -1 if after is None else after
        self._message: str | None = None
        self._thinking: str | None = None
        self._thoughts: dict[str, int] = {}
        """How much of each thought was told."""
        self._calls: dict[str, int] = {}
        """How much of each call's arguments was told; -1: it has ended."""
        self._outputs: dict[str, Any] = {}
        """What came of calls that have not ended."""

    def started(self) -> dict[str, Any]:
        return {"type": "RUN_STARTED", **self.place}

    def failed(self, text: str, code: str) -> dict[str, Any]:
        self.over = True
        return {"type": "RUN_ERROR", "message": text, "code": code}

    def tell(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        match content["type"]:
            case "stream_chunk":
                return self._chunk(content)
            case "run_step" if self._after is not None and content.get("so_far"):
                return []  # It was told before the interrupt.
            case "run_step":
                if content["kind"] == "thinking":
                    return self._thought(content)
                return self._call(content)
            case "approval_request":
                return self._interrupted(content)
            case "stream_end":
                return self._ended(content)
            case _:
                return []

    def _chunk(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        told = self._end_thought()
        self._index = content["index"]
        if self._message is None:
            part = "" if self._after is None else f":{self._after}"
            self._message = content["message_id"] + part
            start = {"type": "TEXT_MESSAGE_START", "messageId": self._message}
            told.append({**start, "role": "assistant"})
        delta = {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._message}
        told.append({**delta, "delta": content["content"]})
        return told

    def _end_message(self) -> list[dict[str, Any]]:
        message, self._message = self._message, None
        return [] if message is None else [{"type": "TEXT_MESSAGE_END", "messageId": message}]

    def _thought(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        thought = f"{content['message_id']}:thinking:{content['step']}"
        had = self._thoughts.get(thought, 0)
        more = content.get("content", "")[max(0, had - content.get("offset", 0)) :]
        self._thoughts[thought] = had + len(more)
        if self._thinking is None and (more or not had):
            self._thinking = thought
            about = {"messageId": self._thinking}
            told.append({"type": "REASONING_START", **about})
            told.append({"type": "REASONING_MESSAGE_START", **about, "role": "reasoning"})
        if more:
            about = {"messageId": thought}
            told.append({"type": "REASONING_MESSAGE_CONTENT", **about, "delta": more})
        if content["status"] != "running":
            told += self._end_thought()
        return told

    def _end_thought(self) -> list[dict[str, Any]]:
        thinking, self._thinking = self._thinking, None
        if thinking is None:
            return []
        about = {"messageId": thinking}
        return [
            {"type": "REASONING_MESSAGE_END", **about},
            {"type": "REASONING_END", **about},
        ]

    def _call(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        told = self._end_thought()
        call = f"{content['message_id']}:{content['step_id']}"
        about = {"toolCallId": call}
        if call not in self._calls:
            self._calls[call] = 0
            name = content.get("name") or content["kind"]
            told.append(
                {
                    "type": "TOOL_CALL_START",
                    **about,
                    "toolCallName": name,
                    "parentMessageId": content["message_id"],
                }
            )
        had = self._calls[call]
        if had < 0:
            return told
        arguments = content.get("input")
        if arguments is not None and not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        if isinstance(arguments, str) and len(arguments) > had:
            told.append({"type": "TOOL_CALL_ARGS", **about, "delta": arguments[had:]})
            self._calls[call] = len(arguments)
        if content.get("output") is not None:
            self._outputs[call] = content["output"]
        if content["status"] != "running":
            self._calls[call] = -1
            told.append({"type": "TOOL_CALL_END", **about})
            output = self._outputs.pop(call, None)
            if output is not None:
                text = output if isinstance(output, str) else orjson.dumps(output).decode()
                result = {"type": "TOOL_CALL_RESULT", **about, "content": text, "role": "tool"}
                told.append({**result, "messageId": f"{call}:result"})
        return told

    def _settled(self) -> list[dict[str, Any]]:
        """What is open is ended."""
        told = [*self._end_thought(), *self._end_message()]
        for call, had in self._calls.items():
            if had >= 0:
                self._calls[call] = -1
                told.append({"type": "TOOL_CALL_END", "toolCallId": call})
        return told

    def _interrupted(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.over = True
        interrupt = {
            "id": f"{content['message_id']}:{self._index}:{content['request_id']}",
            "reason": "approval",
            "message": content["question"],
            "responseSchema": {"type": "string", "enum": content["options"]},
            "metadata": content["details"],
        }
        outcome = {"type": "interrupt", "interrupts": [interrupt]}
        finished = {"type": "RUN_FINISHED", **self.place, "outcome": outcome}
        return [*self._settled(), finished]

    def _ended(self, content: Mapping[str, Any]) -> list[dict[str, Any]]:
        told = self._settled()
        self.over = True
        status = content["status"]
        if status in ("failed", "interrupted"):
            text = content.get("error") or f"The answer was {status}"
            return [*told, self.failed(text, status.upper())]
        usage = [{"totalTokens": content.get("tokens_used") or 0}]
        outcome = {"type": "success" if status == "complete" else "cancelled"}
        finished = {"type": "RUN_FINISHED", **self.place, "outcome": outcome, "usage": usage}
        return [*told, finished]
