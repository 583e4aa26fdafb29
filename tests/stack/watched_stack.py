"""All processes of a stack with servers of their own, and what Prometheus would read of them."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from common.operational.source import VARIABLE, with_settings
from config.env import Settings
from ops.embedded.orphans import adopted
from ops.stack import stack
from ops.stack.fork_server import ForkServer
from ops.stack.process import ProcessSpec
from tests.buses.engines import NatsServer
from tests.certificates import self_signed
from tests.faults.environment import FaultEnvironment, end_reused
from tests.faults.postgres_clusters import at
from tests.faults.process_fleet import Process
from tests.faults.servers import ROOT, Servers
from tests.ports import free_port
from tests.server_folders import server_folder
from tests.stack.scraped_alarms import SCRAPE_SECONDS, Scrape, scrape_of
from tests.until import until

ACCOUNTS = 50
TOKEN = "scrape-7c21e0b94d55"
LEASED = ("exits", "execution-1", "maintenance", "sessions", "prices")
ALL = (*LEASED, "web", "beat", "buses", "bus_receiver")
LEASE_SECONDS = 10
# A slow answer is no time-out; the gap must be longer.
SLOW_CALLS = {"execution.call_timeout_seconds": 10, "execution.absence_gap_seconds": 13}
IN_A_LANE = """
UPDATE connections_executionconnection SET lane = 'sessions.1' WHERE id = (
  SELECT id FROM connections_executionconnection ORDER BY id LIMIT 1)
"""


class ForkedProcess(Process):
    """A process of the fork server, as `manage.py stack` starts it: it imports nothing again."""

    def __init__(self, server: ForkServer, spec: ProcessSpec, environ: Mapping[str, str]) -> None:
        self.name, self.log = spec.name, server.log.parent / f"{spec.name}.log"
        with self.log.open("ab") as output:
            self.began_at = output.tell()
            env = {**environ, **spec.env}
            self.popen = server.spawn(spec.command, output=output, folder=ROOT, env=env)  # type: ignore[assignment]  # both have what a test uses


class WatchedStack:
    """The processes by name, the servers that a test may break, and the scrapes."""

    def __init__(
        self, environment: FaultEnvironment, bus_out: NatsServer, bus_in: NatsServer
    ) -> None:
        self.environment, self.bus_out, self.bus_in = environment, bus_out, bus_in
        self.fleet, self.servers = environment.fleet, environment.servers
        # The default, with the longest pauses that a session may make.
        self.fleet.environ["FILLCAST_LEASE_SECONDS"] = f"{LEASE_SECONDS}"
        self.rows, self.operator = environment.ours.rows, environment.operator
        self.port, self.mail_port = free_port(), free_port()
        self._authority = self.fleet.folder / "authority.pem"
        self.have_authority(ends_in_days=400)
        self.settings = with_settings(self.fleet.environ[VARIABLE], SLOW_CALLS)
        self.fleet.environ |= {
            VARIABLE: self.settings,
            "FILLCAST_LISTEN": str(self.port),
            "FILLCAST_METRICS_TOKEN": TOKEN,
            "FILLCAST_SECRET_KEY": "k" * 40,
            "PGSSLROOTCERT": f"{self._authority}",  # these servers ask for no TLS
            "FILLCAST_EMAIL_URL": f"smtp://127.0.0.1:{self.mail_port}",
            "FILLCAST_BUSES": f"{bus_out.url},from+{bus_in.url}",
        }
        self._forks = ForkServer(stack.fork_server(), self.fleet.environ, self.fleet.folder, ROOT)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have all processes run meanwhile."""
        with adopted():
            try:
                self._forks.start()
                until(lambda: self._forks.ready, seconds=600, seen=self._forks.log.read_text)
                self.start(*ALL)
                yield
            finally:
                self.fleet.end_all()
                if self._forks.process is not None:
                    self._forks.process.kill()
                    self._forks.process.wait(10)

    # ---- processes ------------------------------------------------------------------------
    def start(self, *names: str) -> None:
        """Start processes and wait until each of them works."""
        for name in names:
            self._start(name)
        leased = [self.fleet[name].pid for name in names if name in LEASED]
        until(lambda: all(map(self.fleet.has_lease, leased)), seconds=600, seen=self.fleet.log)
        if "web" in names:
            until(self.text, seconds=600, seen=lambda: self.fleet.log("web"))

    def _start(self, name: str) -> None:
        specs = stack.all_processes(Settings.read(self.fleet.environ))
        spec = {one.name: one for one in specs}[name]
        if name == "web":
            self.fleet.start(spec)
        else:
            self.fleet.processes[name] = ForkedProcess(self._forks, spec, self.fleet.environ)

    @contextmanager
    def killed(self, name: str) -> Iterator[None]:
        """Kill a process; start it again at the end."""
        self.fleet[name].kill()
        yield
        self.start(name)

    @contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """Suspend a process: it keeps its connections and does nothing."""
        self.fleet[name].stop()
        try:
            yield
        finally:
            self.fleet[name].go_on()

    # ---- scrapes --------------------------------------------------------------------------
    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body of a page. Raises OSError, http.client.HTTPException."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SCRAPE_SECONDS)
        try:
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            return response.status, response.read().decode()
        finally:
            client.close()

    def text(self) -> str | None:
        """Return the text of /metrics; None if it does not come within the time of a scrape."""
        with suppress(OSError, http.client.HTTPException):
            status, body = self.get("/metrics", Authorization=f"Bearer {TOKEN}")
            return body if status == 200 else None
        return None

    def scrape(self) -> Scrape:
        """Return what Prometheus would store now."""
        return scrape_of(self.text())

    def have_authority(self, *, ends_in_days: float) -> None:
        """Put another certificate where PGSSLROOTCERT leads."""
        self._authority.write_bytes(self_signed("authority", ends_in_days=ends_in_days)[0])

    # ---- trading --------------------------------------------------------------------------
    def trade(self) -> None:
        """Let all accounts open a position and close it, and read some pages meanwhile."""
        self.operator.do("quote")
        self.operator.do("publish", feed=ACCOUNTS)
        self.environment.settle()
        for path in ("/login/", "/api/v1/orders/", "/healthz"):
            self.get(path)
        self.close_all()
        # Orders that a poll has sent before their message came: no fault.
        ended = self.environment.ours.value("SELECT max(id) FROM execution_order")
        self.send("ExecuteSignal", [ended], queue="exits")

    def close_all(self) -> None:
        """Wait until all orders are settled, and close what is open."""
        self.environment.settle()
        self.operator.do("close", positions=self.environment.positions())
        self.environment.wait(lambda: not self.environment.positions(), "positions stay open")
        self.environment.settle()

    @contextmanager
    def open_position(self, *, guarded_by_engine: bool = False) -> Iterator[None]:
        """Have open positions meanwhile."""
        self.environment.broker(native_stops=not guarded_by_engine)
        self.rows(
            "UPDATE connections_executionconnection SET settings = %s",
            '{"native_stops": false}' if guarded_by_engine else "{}",
        )
        self.operator.do("quote")
        self.operator.do("publish", feed=ACCOUNTS)
        self.environment.settle()
        yield
        self.close_all()

    def send(self, task: str, *arguments: Any, queue: str) -> None:
        """Send a message to workers."""
        self.operator.do("send", name=task, arguments=list(arguments), queue=queue)

    def audit(self) -> None:
        """Let the worker for maintenance audit, and wait for its result."""
        runs = "SELECT coalesce(max(id), 0) FROM execution_auditrun"
        before = self.environment.ours.value(runs)
        self.send("execution.audit", True, queue="maintenance")
        until(lambda: self.environment.ours.value(runs) > before, seen=self.fleet.log)

    def refuse_logins(self, accounts: int) -> None:
        """Let the broker refuse the logins of so many accounts, and of no others."""
        self.environment.books.rows(
            "UPDATE paper_account SET password_hash = CASE WHEN id IN (SELECT id FROM"
            " paper_account ORDER BY id LIMIT %s) THEN 'x' ELSE '' END",
            accounts,
        )

    def wait_until_well(self) -> None:
        """Wait until all processes hold their leases, and all accounts are connected."""
        leased = [self.fleet[name].pid for name in LEASED]
        until(lambda: all(map(self.fleet.has_lease, leased)), seconds=600, seen=self.fleet.log)
        self.environment.wait(
            lambda: (
                not self.rows("SELECT 1 FROM connections_connectionhealth WHERE status <> 'ACTIVE'")
            ),
            "accounts are in error",
            120,
        )

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """Return a session whose locks others wait for; it is rolled back at the end."""
        with psycopg.connect(self.servers.ours.url) as session:
            yield session
            session.rollback()


@contextmanager
def watched_stack() -> Iterator[WatchedStack]:
    """Start everything that a stack has; end it afterwards."""
    with server_folder("fillcast-watched-") as folder:
        servers = Servers(folder / "servers")
        buses = [NatsServer(_made(folder / name)) for name in ("out", "in")]
        try:
            servers.start()
            for bus in buses:
                bus.start()
            state = servers.state_with(ACCOUNTS)
            with FaultEnvironment(servers, _made(folder / "stack"), state=state) as environment:
                started = WatchedStack(environment, *buses)
                started.rows(IN_A_LANE)
                with started.running(), at(servers.ours.url):
                    yield started
        finally:
            end_reused(servers)
            servers.stop()
            for bus in buses:
                bus.kill()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
