"""Sessions on the servers of both gateways and on two nodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.surfaces.agents.sessions import Chat
from tests.surfaces.people import House


@pytest.fixture
def chat(house: House) -> Chat:
    """The agents' surface of an org of its own."""
    return Chat(house)


@pytest.fixture
def open_chat(open_house: Callable[..., House]) -> Callable[..., Chat]:
    """The same on a server with settings of the test's own."""

    def make(**settings: str) -> Chat:
        return Chat(open_house(**settings))

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path
