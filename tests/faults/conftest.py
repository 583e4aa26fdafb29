"""Servers once a run, a fresh place for each case."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.place import Place
from tests.faults.servers import Servers

CONNECTIONS = 1_000


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    folder = Path(tempfile.mkdtemp(prefix="fillcast-faults-"))
    servers = Servers(folder)
    try:
        servers.start(connections=CONNECTIONS)
        yield servers
    finally:
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as place:
        yield place
