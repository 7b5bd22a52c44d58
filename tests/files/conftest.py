"""Servers for the tests of files: each test has an org of its own on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from tests.cluster import TwoNodes
from tests.conftest import Server
from tests.files.seaweed import BUCKET, KEY, SECRET, Seaweed
from tests.store.conftest import (  # noqa: F401 - fixtures
    clock,
    delivered,
    postgresql_urls,
    sqlite_url,
    store,
    url,
    writer,
)
from tests.surfaces.people import SERVERS, House, house_on

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of a file: eight parts."""
SETTINGS: dict[str, Any] = {
    "rate_limit_enabled": "false",
    "max_file_size": str(MAX_SIZE),
    "upload_idle_timeout": "3",
}


def s3_settings(seaweed: Seaweed) -> dict[str, Any]:
    return {
        "file_storage_type": "s3",
        "s3_bucket_name": BUCKET,
        "s3_endpoint_url": seaweed.url,
        "s3_region": "us-east-1",
        "s3_access_key_id": KEY,
        "s3_secret_access_key": SECRET,
    }


@pytest.fixture(scope="session", params=[*SERVERS, "two-nodes"])
def files_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterable[Server]:
    """A running server: with files in a folder, behind either gateway; and two nodes, everybody on
    another, with files in a bucket."""
    home = tmp_path_factory.mktemp(f"files-{request.param}")
    running: Server
    if request.param == "two-nodes":
        postgres = request.getfixturevalue("postgres")
        valkey = request.getfixturevalue("valkey_session")
        bucket = s3_settings(request.getfixturevalue("seaweed"))
        running = TwoNodes(home, postgres, valkey, **SETTINGS, **bucket)
    else:
        running = SERVERS[request.param](home, dev=True, **SETTINGS)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def house(files_server: Server) -> AsyncIterator[House]:
    """An org of the test's own on a shared server."""
    async with house_on(files_server) as house:
        yield house
