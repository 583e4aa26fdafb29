"""An upgrade under signals: the old and the new code side by side on one database."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.environment import ACCOUNTS, FaultEnvironment, Scenario
from tests.faults.process_fleet import Fleet, OperatorProcess, Process
from tests.faults.servers import Database, Servers, manage
from tests.faults.test_entries import all_ended
from tests.faults.two_versions import COLUMN, NoOldCodeError, next_version, old_commit, unpack

pytestmark = [pytest.mark.faults]
FEED = 50
WAIT = 180
QUEUES = {"execution": "execution", "exits": "exits", "maintenance": "maintenance"}
LEASE = "SELECT id FROM execution_workerlease WHERE pid = %s ORDER BY lease_until DESC LIMIT 1"
FILLED_OF = """
SELECT count(*) FROM execution_order WHERE signal_id = %s AND status = 'FILLED'"""
FILLED_BY = """
SELECT count(*) FROM execution_order WHERE status = 'FILLED' AND worker_id = ANY(%s)"""


class Signals:
    """Opens and closes trades on FEED accounts again and again, from a thread.

    A trade is closed once each account has it; MOST are open, so the machine's speed decides how
    many there are in all.
    """

    MOST = 4

    def __init__(self, operator: OperatorProcess, servers: Servers) -> None:
        self.operator = operator
        self.opened: list[int] = []
        self.open: list[int] = []
        self._database = Database(servers.postgres)
        self._error: BaseException | None = None
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def running(self) -> Iterator["Signals"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._ends.set()
            self._thread.join()
            self._database.close()
        if self._error is not None:
            raise self._error

    def close(self, signal: int) -> None:
        self.operator.do("publish", action="CLOSE", refers_to=signal)
        self.open.remove(signal)

    def _run(self) -> None:
        try:
            while not self._ends.wait(0.2):
                self.operator.do("quote")
                if len(self.open) < self.MOST:
                    ids = self.operator.do("publish", feed=FEED)
                    self.opened += ids
                    self.open += ids
                elif self._database.value(FILLED_OF, self.open[0]) == FEED:
                    self.close(self.open[0])
        except BaseException as error:  # any: the test raises it
            self._error = error


AS_VARIABLES = {
    "FILLCAST_SEND_DEADLINE_SECONDS": "2",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "2",
    "FILLCAST_ABSENCE_GAP_SECONDS": "5",
    "FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS": "300",
    "FILLCAST_POLL_SECONDS": "1",
    "FILLCAST_DISPATCH_SLOTS": "200",
    "FILLCAST_BUNDLE_SIZE": "50",
    "FILLCAST_OUTBOUND_NETWORKS": "127.0.0.1/32",
    "FILLCAST_BROKER_MAINTENANCE_WINDOWS": "no",
}
"""The settings of `process_fleet.FAST` as code of before wants them."""


@pytest.fixture(scope="session")
def versions(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("versions")
    try:
        old = unpack(old_commit(), folder / "old")
    except NoOldCodeError as error:
        pytest.skip(str(error))
    return old, next_version(folder / "new", servers.environ())


@pytest.fixture
def upgrade(
    servers: Servers, versions: tuple[Path, Path], tmp_path: Path
) -> Iterator[FaultEnvironment]:
    """Return an environment with the tables of the old code; no process runs."""
    state = servers.state_of(versions[0], ACCOUNTS)
    with FaultEnvironment(servers, tmp_path, state=state) as environment:
        yield environment


def start(fleet: Fleet, prefix: str) -> dict[str, Process]:
    """Start the trading processes of one version; wait until all trade."""
    found = {name: fleet.worker(f"{prefix}-{name}", q, wait=False) for name, q in QUEUES.items()}
    fleet.wait_for_lease(*found.values())
    for process in found.values():
        assert Path(f"/proc/{process.pid}/cwd").resolve() == fleet.code.resolve()
    return found


def fleet_of(environment: FaultEnvironment, code: Path, prefix: str) -> Fleet:
    """Return processes of one version; the environment ends them too."""
    fleet = Fleet(environment.servers, environment.folder, environment.fleet.environ, code)
    fleet.processes = environment.fleet.processes
    variables = (code / "config/env.py").read_text()
    if "send_journal_folder" in variables:  # code of before it was found
        fleet.environ["FILLCAST_SEND_JOURNAL_FOLDER"] = str(environment.folder / "sends")
    if "send_deadline_seconds" in variables:  # code of before the operational settings
        fleet.environ.update(AS_VARIABLES)
    return fleet


def test_old_and_new_code_trade_side_by_side_through_an_upgrade(
    upgrade: FaultEnvironment, versions: tuple[Path, Path]
) -> None:
    old, new = (fleet_of(upgrade, code, code.name) for code in versions)
    upgrade.broker(reply_delay_ms=100)
    upgrade.quote()
    olds = start(old, "old")
    more = "old-execution-2"
    old.worker(more, "execution")

    def filled_more(*by: Process) -> None:
        """Wait until these processes have filled as many orders as a signal makes."""
        leases = [upgrade.ours.value(LEASE, process.pid) for process in by]
        before = upgrade.ours.value(FILLED_BY, leases)
        upgrade.wait(
            lambda: upgrade.ours.value(FILLED_BY, leases) >= before + FEED,
            f"{by[0].name} fills no signal",
            WAIT,
        )

    before = Signals(old.operator(), upgrade.servers)
    with before.running():
        filled_more(olds["execution"])
        # 1. expand: the old code goes on while each table gets a column, and after it
        check = manage(new.environ, ["check_migrations"], code=new.code)
        assert check.returncode == 0, check.stderr
        environ = {**new.environ, "FILLCAST_DB_ROLE": "owner"}
        migrated = manage(environ, ["migrate", "--no-input"], code=new.code)
        assert migrated.returncode == 0, migrated.stderr
        assert f"execution.9999_{COLUMN}" in migrated.stdout
        filled_more(olds["execution"])
        filled_more(olds["execution"])
        # 2. the new code trades beside it
        news = start(new, "new")
        after = Signals(new.operator(), upgrade.servers)
        with after.running():
            filled_more(olds["execution"])
            filled_more(news["execution"])
            # 3. one of the old dies, the others drain, one after another
            upgrade.wait(lambda: upgrade.count.in_flight() > 0, "nothing in flight")
            old.processes[more].kill()
            scenario = Scenario(upgrade)
            for process in olds.values():
                assert process.end() == 0, process.output()[-2000:]
                assert upgrade.taken_over(process)
            filled_more(news["execution"])
    upgrade.settle(WAIT)
    scenario.end()
    # 4. back: the old code runs again on the new tables; each version closes what the other opened
    again = start(old, "old-again")
    for process in news.values():
        assert process.end() == 0
    before.operator.do("quote")
    last = before.operator.do("publish", feed=FEED)
    for signals, others in ((before, after), (after, before)):
        for signal in [*signals.open]:
            others.operator.do("publish", action="CLOSE", refers_to=signal)
    upgrade.settle(WAIT)
    for process in again.values():
        assert process.end() == 0
    expected = FEED * len([*before.opened, *after.opened, *last])
    all_ended(upgrade, expected, absent_at_most=scenario.in_flight)
    assert upgrade.count.open_positions() == FEED  # of the last signal
    assert upgrade.count.refused_again() == 0
    assert "cached plan must not change" not in "".join(
        path.read_text() for path in upgrade.folder.glob("*.log")
    )
