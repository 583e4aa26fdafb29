"""Servers once a run, a fresh place for each case."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.place import Place, end_kept
from tests.faults.servers import Servers

CONNECTIONS, OPENED = 1_000, 200


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    folder = Path(tempfile.mkdtemp(prefix="fillcast-faults-"))
    servers = Servers(folder)
    try:
        servers.start(connections=CONNECTIONS)
        yield servers
    finally:
        end_kept(servers)
        servers.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _fill(servers: Servers, folder: Path, state: str, prepare: Callable[[Place], None]) -> None:
    """Keep a state in which OPENED accounts hold a position with a stop and a target."""
    if servers.kept(state):
        return
    with Place(servers, folder) as place:
        prepare(place)
        worker = place.fleet.worker()
        place.quote()
        place.hands.do("publish", feed=OPENED)
        place.settle()
        worker.end()
        assert place.count.wrong(OPENED) == {}
    servers.keep(state)


@pytest.fixture
def opened(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """OPENED positions whose levels the broker holds; no process runs."""
    _fill(servers, tmp_path, "opened", lambda place: None)
    with Place(servers, tmp_path, state="opened") as place:
        yield place


@pytest.fixture
def watched(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """OPENED positions whose levels we watch ourselves; no process runs."""
    _fill(servers, tmp_path, "watched", lambda place: place.engine_guards())
    with Place(servers, tmp_path, state="watched") as place:
        yield place


@pytest.fixture
def netted(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    """OPENED positions on netting accounts; no process runs."""
    _fill(servers, tmp_path, "netted", lambda place: place.netting())
    with Place(servers, tmp_path, state="netted") as place:
        yield place


@pytest.fixture
def place(servers: Servers, tmp_path: Path) -> Iterator[Place]:
    with Place(servers, tmp_path) as place:
        yield place
