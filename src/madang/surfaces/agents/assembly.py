"""The agents of one node, put together: what `compose` makes one of, starts, feeds and closes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from madang.agents.catalog import Catalog, Register, RegisterTool, open_catalog
from madang.agents.moving import MOVE
from madang.agents.people import ANSWERED
from madang.agents.protocol import Agent, Tool
from madang.agents.runner import Runner
from madang.agents.stopping import STOP
from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.delivery.how_far import RUN_TEXT
from madang.delivery.members import Members
from madang.delivery.presence import Presence
from madang.delivery.streams import Streams
from madang.gateways.entrance import Entrance, Surface
from madang.hub.hub import Hub
from madang.model.nouns import Batch
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.settings import Settings
from madang.surfaces.admission import Admission
from madang.surfaces.agents import agui, rest, rest_runs
from madang.surfaces.agents.seats import Seats
from madang.surfaces.agents.session import SessionPath, SessionSocket
from madang.surfaces.agents.viewing import Watching
from madang.surfaces.limited import telling
from madang.surfaces.requests import JsonResponse, JsonRoute
from madang.tasks import Tasks

BASE = "/api/chat"
AGUI = "/api/agui"
_SOCKETS = (f"{BASE}/ws/", "/ws/")


class Agents:
    """The agents' part of a node."""

    def __init__(
        self,
        settings: Settings,
        *,
        hub: Hub,
        delivery: Delivery,
        bus: Bus,
        store: Store,
        writer: Writer,
        clock: Clock,
        members: Members,
        presence: Presence,
        admission: Admission,
        entrance: Entrance,
        messages_limit: RateLimit,
        changes_limit: RateLimit,
        signals_limit: RateLimit,
    ) -> None:
        self.catalog: Catalog = open_catalog(
            settings.agents,
            clock,
            delay=settings.stream_delay_ms / 1000,
            idle=settings.run_idle_seconds,
            private=settings.agents_private_addresses,
        )
        self.run_limits = run_limits(settings)
        self.streams = Streams(
            hub,
            delivery,
            bus,
            store,
            clock,
            interval=settings.stream_delay_ms / 1000,
            chunk=settings.stream_chunk_size,
        )
        self.runner = Runner(
            self.catalog,
            store,
            writer,
            bus,
            clock,
            self.streams,
            most_text=settings.run_text_limit,
            run_seconds=settings.run_seconds,
            idle_seconds=settings.run_idle_seconds,
            grace=settings.run_grace_seconds,
            history=settings.agents_history,
        )
        delivery.watch(self.streams.watched)
        delivery.watch(self.runner.people.watched)
        delivery.pass_runs_on(self.streams)
        delivery.answer(RUN_TEXT, self.streams.text_of)
        delivery.answer(STOP, self.runner.stopping.stop_here)
        delivery.answer(MOVE, self.runner.moving.let_go_here)
        delivery.answer(ANSWERED, self.runner.people.answered_here)
        self.seats = Seats(
            hub, delivery, store, self.streams, clock, limit=settings.output_limit_bytes
        )
        delivery.watch(self.seats.watched)
        self.socket = SessionSocket(
            admission=admission,
            hub=hub,
            delivery=delivery,
            bus=bus,
            presence=presence,
            store=store,
            writer=writer,
            clock=clock,
            seats=self.seats,
            runner=self.runner,
            messages_limit=messages_limit,
            changes_limit=changes_limit,
            signals_limit=signals_limit,
            run_limits=self.run_limits,
            max_content=settings.ws_message_size_limit,
            typing_seconds=settings.typing_timeout,
        )
        watching = Watching(
            hub,
            delivery,
            store,
            self.streams,
            members,
            admission,
            entrance,
            clock,
            settings.output_limit_bytes,
            settings.run_idle_seconds,
        )
        delivery.watch(watching.watched)
        self.parts = rest.Parts(
            store,
            writer,
            clock,
            self.catalog,
            self.runner,
            watching,
            messages_limit,
            changes_limit,
            self.run_limits,
            settings.ws_message_size_limit,
            settings.agents_when_busy,
            settings.agents_outside,
            settings.ws_connection_timeout,
        )
        self._limit = messages_limit
        self._tasks = Tasks()

    def route(self, path: str) -> Surface | None:
        """The WebSocket of a session, if that is where the path leads."""
        for prefix in _SOCKETS:
            if path.startswith(prefix):
                session_id = path.removeprefix(prefix)
                return SessionPath(self.socket, session_id) if "/" not in session_id else None
        return None

    def routers(self) -> list[APIRouter]:
        """The routes under `/api/chat` and `/api/agui`."""
        chat, agui_ = (
            APIRouter(
                prefix=prefix,
                route_class=JsonRoute,
                dependencies=[telling(self._limit)],
                tags=["agents"],
                default_response_class=JsonResponse,
            )
            for prefix in (BASE, AGUI)
        )
        rest.add_sessions(chat, self.parts)
        rest_runs.add_runs(chat, self.parts)
        agui.add_agui(agui_, self.parts)
        return [chat, agui_]

    def agent(self, name: str, **fields: Any) -> Register:
        """Offer a function as the agent of this name: `@app.agent("weather")`."""

        def register(agent: Agent) -> Agent:
            self.catalog.add(name, agent, **fields)
            return agent

        return register

    def tool(self, name: str) -> RegisterTool:
        """Have an async function answer calls of a tool that is configured: `@app.tool("look")`."""

        def register(tool: Tool) -> Tool:
            self.catalog.tools[name] = tool
            return tool

        return register

    def committed(self, batch: Batch) -> None:
        """This node has committed these events, and they were told."""
        self.runner.committed(batch)

    def start(self) -> None:
        self._tasks.start(self.runner.keeping.keep_on(), "runs: checkpoints")
        self._tasks.start(self.runner.keeping.sweep(), "runs: abandoned ones")

    async def finish(self) -> None:
        """End what this node's agents are saying, while it can still be written."""
        await self.runner.close()

    async def close(self) -> None:
        await self._tasks.close()
        await self.socket.close()
        await self.streams.close()


def run_limits(settings: Settings) -> RunLimits:
    """How many runs at once."""
    if not settings.rate_limit_enabled:
        return RunLimits(None, None)
    return RunLimits(settings.runs_per_user, settings.runs_per_org)
