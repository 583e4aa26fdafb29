"""Servers for the whole run, and a new environment for each case."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analytics import replica
from common.clocks import set_market_clock
from tests.faults import postgres_clusters
from tests.faults.environment import ACCOUNTS, FaultEnvironment, end_reused
from tests.faults.pgbouncer import PgBouncer
from tests.faults.pooled import PooledEnvironment
from tests.faults.postgres_clusters import Clusters
from tests.faults.replica_pair import PAUSE, Pair, following
from tests.faults.servers import Servers
from tests.server_folders import server_folder

OPENED = ACCOUNTS
CROWD = 1_000


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    with server_folder("fillcast-faults-") as folder:
        servers = Servers(folder)
        try:
            servers.start()
            yield servers
        finally:
            end_reused(servers)
            servers.stop()


def _fill(
    servers: Servers, folder: Path, state: str, prepare: Callable[[FaultEnvironment], None]
) -> None:
    """Store a database state in which OPENED accounts have a position with stop and target."""
    if servers.kept(state):
        return
    with FaultEnvironment(servers, folder) as environment:
        prepare(environment)
        worker = environment.fleet.worker()
        environment.quote()
        environment.operator.do("publish", feed=OPENED)
        environment.settle()
        worker.end()
        assert environment.count.wrong(OPENED) == {}
    servers.keep(state)


@pytest.fixture
def opened(servers: Servers, tmp_path: Path) -> Iterator[FaultEnvironment]:
    """Return an environment with OPENED positions that the broker guards; no process runs."""
    _fill(servers, tmp_path, "opened", lambda environment: None)
    with FaultEnvironment(servers, tmp_path, state="opened") as environment:
        yield environment


@pytest.fixture
def watched(servers: Servers, tmp_path: Path) -> Iterator[FaultEnvironment]:
    """Return an environment with OPENED positions that the engine guards; no process runs."""
    _fill(servers, tmp_path, "watched", lambda environment: environment.engine_guards())
    with FaultEnvironment(servers, tmp_path, state="watched") as environment:
        yield environment


@pytest.fixture
def netted(servers: Servers, tmp_path: Path) -> Iterator[FaultEnvironment]:
    """Return an environment with OPENED positions on netting accounts; no process runs."""
    _fill(servers, tmp_path, "netted", lambda environment: environment.netting())
    with FaultEnvironment(servers, tmp_path, state="netted") as environment:
        yield environment


@pytest.fixture
def environment(servers: Servers, tmp_path: Path) -> Iterator[FaultEnvironment]:
    with FaultEnvironment(servers, tmp_path) as environment:
        yield environment


@pytest.fixture
def crowded(servers: Servers, tmp_path: Path) -> Iterator[FaultEnvironment]:
    """Return an environment with CROWD eligible accounts, for bursts."""
    with FaultEnvironment(servers, tmp_path, state=servers.state_with(CROWD)) as environment:
        yield environment


@pytest.fixture(scope="session")
def pgbouncer(servers: Servers) -> Iterator[PgBouncer]:
    with server_folder("fillcast-pgbouncer-") as folder:
        bouncer = PgBouncer(folder / "bouncer", servers.postgres.url)
        bouncer.create_logins()
        try:
            yield bouncer
        finally:
            bouncer.kill()


@pytest.fixture
def pooled(pgbouncer: PgBouncer, servers: Servers, tmp_path: Path) -> Iterator[PooledEnvironment]:
    """Return an environment whose processes go through PgBouncer."""
    if not pgbouncer.runs:
        pgbouncer.start()
    end_reused(servers)  # its operator's process goes past it
    with PooledEnvironment(servers, tmp_path, pgbouncer) as environment:
        yield environment
    end_reused(servers)  # its operator's process has this address


@pytest.fixture(scope="module")
def pairs() -> Iterator[dict[str, Pair]]:
    """Return what the first test starts; each test of the module uses it."""
    started: dict[str, Pair] = {}
    yield started
    for pair in started.values():
        pair.clusters.stop()


@pytest.fixture
def servers_of(
    pairs: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    if not pairs:
        clusters = Clusters()
        primary = clusters.filled("primary", postgres_clusters.dump(tmp_path / "empty"))
        pairs[""] = Pair(clusters, primary, clusters.standby(primary, "standby"))
    pair = pairs[""]
    pair.standby.start()
    monkeypatch.setitem(replica.PAUSE_SECONDS, "lags", PAUSE)
    monkeypatch.setitem(replica.PAUSE_SECONDS, "fails", PAUSE)
    replica._pause.end()
    with postgres_clusters.at(pair.primary.url):
        yield pair
    set_market_clock(None)


@pytest.fixture
def pair(servers_of: Pair) -> Iterator[Pair]:
    with following(servers_of.standby.url):
        yield servers_of
