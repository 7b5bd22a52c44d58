"""A room for one test, on each gateway and on two nodes of which everybody is on another."""

from __future__ import annotations

import pytest

from tests.surfaces.live.hall import Hall, open_hall
from tests.surfaces.people import House


@pytest.fixture
async def hall(house: House) -> Hall:
    return await open_hall(house)
