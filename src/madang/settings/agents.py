"""Agents: which are on offer, what an answer may take, how it is streamed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from madang.settings.theme import Seconds, Theme, shared


class Agents(Theme):
    """Agents, and the runs in which they answer."""

    agents: str = Field(
        "",
        repr=False,  # it may hold a secret
        description=(
            "The agents on offer besides `echo`: the path of a TOML or JSON file, or a JSON object."
        ),
    )
    agents_outside: bool = Field(
        True,
        description=(
            "Whether a session may name as its agent a user id that is none of the agents on "
            "offer, and answers over the WebSocket with an `agent` token."
        ),
    )
    agents_private_addresses: bool = Field(
        False,
        description=(
            "Whether agents may be asked at private addresses (this machine, this network). For "
            "development."
        ),
    )
    agents_when_busy: Literal["queue", "cancel", "parallel"] = Field(
        "queue",
        description=(
            "What a question does while the agent still answers the one before, unless its "
            "session says otherwise: queue, cancel or parallel."
        ),
    )
    agents_history: int = Field(
        50, ge=1, le=200, description="Messages of a session that its agent is given with each."
    )
    run_seconds: Seconds = Field(
        600.0,
        gt=0,
        description="Seconds an agent may take for an answer, waiting for people not counted.",
    )
    run_idle_seconds: Seconds = Field(
        60.0,
        gt=0,
        description=(
            "Seconds an agent may say nothing while it answers, and that a stream waits for one "
            "outside to begin."
        ),
    )
    run_grace_seconds: Seconds = Field(
        5.0,
        description=(
            "Seconds that an agent outside whose connection has ended has to come back and go on "
            "with its answer."
        ),
    )
    run_text_limit: int = Field(
        200_000, ge=1, description="Characters of the longest answer; a longer one fails there."
    )
    runs_per_user: int = Field(
        10, ge=1, description="Answers that a user may have under way at once, over all nodes."
    )
    runs_per_org: int = Field(
        1_000, ge=1, description="Answers that an org may have under way at once, over all nodes."
    )
    stream_chunk_size: int = Field(
        4_096,
        ge=1,
        validation_alias=shared("STREAM_CHUNK_SIZE"),
        description=(
            "Characters of an answer that one frame carries at most: what is longer goes out as "
            "several at once."
        ),
    )
    stream_delay_ms: int = Field(
        40,
        ge=0,
        le=10_000,
        validation_alias=shared("STREAM_DELAY_MS"),
        description=(
            "Milliseconds between two times that more of an answer is told, at least: what the "
            "agent says meanwhile goes out together. The first goes out at once. 40 is 25 times a "
            "second."
        ),
    )
