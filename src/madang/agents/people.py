"""Asking people: a run waits for whoever is in its session, and is told the first answer wherever
that is given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import orjson

from madang.agents.fit import fit_json, fit_text
from madang.agents.protocol import Answer
from madang.agents.running import Running
from madang.clock import Clock
from madang.delivery.streams import Streams
from madang.model.ids import uuid7
from madang.model.nouns import Event, Message
from madang.model.runs import lease_name
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import Unavailable
from madang.services.approvals import (
    MOST_DETAILS,
    MOST_OPTION,
    MOST_OPTIONS,
    MOST_QUESTION,
    AskApproval,
    approvals_of,
)

LOOK_SECONDS = 5.0
"""Between two looks whether a person has answered: the bus may have lost it."""
PASS_ON_SECONDS = 5.0
ANSWERED = "run.answered"
"""The topic on which a run's node is told of a person's answer."""


class People:
    """Whom this node's runs ask.

    Args:
        running: the runs of this node.
    """

    def __init__(
        self,
        running: Mapping[str, Running],
        store: Store,
        writer: Writer,
        bus: Bus,
        clock: Clock,
        streams: Streams,
    ) -> None:
        self._running = running
        self._store = store
        self._writer = writer
        self._bus = bus
        self._clock = clock
        self._streams = streams

    def asking(self, running: Running) -> Any:
        async def ask(
            question: str, options: Sequence[str], details: Mapping[str, Any] | None
        ) -> Answer:
            asked = _asked(question, options, details)
            request_id = uuid7(self._clock.now())
            answered = running.asked[request_id] = asyncio.get_running_loop().create_future()
            running.told = True
            patience = running.patience
            try:
                with nullcontext() if patience is None else patience.paused():
                    self._streams.flush(running.stream)
                    await self._writer.write(
                        AskApproval(
                            running.org_id,
                            running.message_id,
                            running.agent_id,
                            request_id,
                            *asked,
                            at=running.length,
                        )
                    )
                    return await self._answered(running, request_id, answered)
            finally:
                del running.asked[request_id]

        return ask

    async def _answered(
        self, running: Running, request_id: str, answered: asyncio.Future[Answer]
    ) -> Answer:
        while True:
            try:
                return await asyncio.wait_for(asyncio.shield(answered), LOOK_SECONDS)
            except TimeoutError:
                pass
            try:
                message = await self._store.message(
                    running.org_id, running.message_id, running.agent_id
                )
            except Unavailable:
                continue
            if message is not None:
                self.hear(message.id, request_id, approvals_of(message).get(request_id))

    def ask_outside(self, running: Running, request_id: str) -> None:
        """An agent outside asks people: it hears the answer as everybody does, and until then its
        time stands still."""
        running.waits_for(request_id, self._clock.monotonic())

    def not_asked(self, running: Running, request_id: str) -> None:
        """It could not."""
        running.is_answered(request_id, self._clock.monotonic())

    def watched(self, event: Event) -> None:
        """An event, before it is told here."""
        if event.type == "approval_answer" and event.message is not None:
            request_id = event.data["request_id"]
            self.hear(event.message.id, request_id, approvals_of(event.message).get(request_id))

    def hear(self, message_id: str, request_id: str, found: Mapping[str, Any] | None) -> bool:
        running = self._running.get(message_id)
        if running is None or found is None or "answer" not in found:
            return running is not None
        running.is_answered(request_id, self._clock.monotonic())
        waiting = running.asked.get(request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(found["answer"], found["by"], found.get("note")))
        return True

    async def pass_on(self, message: Message, request_id: str) -> None:
        """A person has answered here what a run asks, here or on another node."""
        found = approvals_of(message).get(request_id)
        if self.hear(message.id, request_id, found):
            return
        told = {"message_id": message.id, "request_id": request_id, "found": found}
        try:
            owner = await self._bus.owner(lease_name(message.id))
            if owner is not None and owner != self._bus.node:
                await self._bus.ask(owner, ANSWERED, told, PASS_ON_SECONDS)
        except Unavailable:
            pass  # Its node looks for itself.

    def answered_here(self, told: Any) -> Any:
        """Another node tells that a person has answered a run of this one."""
        self.hear(told["message_id"], told["request_id"], told["found"])
        return True


def _asked(
    question: str, options: Sequence[str], details: Mapping[str, Any] | None
) -> tuple[str, tuple[str, ...], Mapping[str, Any] | None]:
    """What is asked, made fit to be kept.

    Raises:
        TypeError: some of it is no text, or the details are no JSON object.
        ValueError: there are no options, too many or ones that cannot be told as they are, or
            too many details.
    """
    if not 1 <= len(options) <= MOST_OPTIONS:
        raise ValueError(f"there are 1 to {MOST_OPTIONS} options, not {len(options)}")
    for option in options:
        if not 1 <= len(option) <= MOST_OPTION or fit_text(option) != option:
            raise ValueError(f"an option is 1 to {MOST_OPTION} characters, not {option!r}")
    if details is not None:
        details = fit_json(details)
        if not isinstance(details, dict):
            raise TypeError("details are an object of JSON")
        if len(orjson.dumps(details)) > MOST_DETAILS:
            raise ValueError(f"details are at most {MOST_DETAILS} bytes of JSON")
    return fit_text(question)[:MOST_QUESTION], tuple(options), details
