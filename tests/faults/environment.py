"""The environment of a case: new databases, our processes, the broker's, and the counters."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.fakes.paper_server import environ_for
from tests.faults.broker_process import Broker
from tests.faults.invariants import InvariantCounts
from tests.faults.process_fleet import Fleet, OperatorProcess, Process, wait_until
from tests.faults.servers import Database, Servers
from tests.faults.unprotected_time import MAX_SECONDS, RECORDED, UnprotectedTime

ACCOUNTS = 200  # eligible ones of a usual case; burst cases have more
SETTLE_SECONDS = 60
TAKE_OVER_SECONDS = 15  # after a successor has started
RULES_DECIDE = """
WITH provider AS (
  INSERT INTO connections_decisionprovider (key, name, kind, on_failure, timeout_seconds,
    max_age_seconds, candle_minutes, broken_rule_factor, max_spread_unit, sessions, session_zone,
    news_impact, news_minutes_before, news_minutes_after, url, entry_point, created_at)
  VALUES (gen_random_uuid(), 'Rules', 'RULES', 'CLOSED', 2, 10, 15, 0, '', '{}', 'UTC', 'HIGH', 15,
    15, '', '', now())
  RETURNING id)
UPDATE connections_tradingpreset SET decision_provider_id = provider.id FROM provider
"""


@dataclass
class ReusedProcesses:
    """The processes that are kept over the cases of a run."""

    broker: Broker
    operator: OperatorProcess | None = None


_reused: dict[Servers, ReusedProcesses] = {}


def end_reused(servers: Servers) -> None:
    """End the broker's and the operator's process of a run."""
    if reused := _reused.pop(servers, None):
        reused.broker.kill()
        if reused.operator is not None and reused.operator.alive:
            reused.operator.kill()


class FaultEnvironment:
    """Use it in a `with` statement; leaving that kills all processes that it started."""

    def __init__(
        self,
        servers: Servers,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        state: str = "",
    ) -> None:
        """state: the stored state from which the databases begin; default: ACCOUNTS accounts."""
        self.servers, self.folder, self._state = servers, folder, state
        (folder / "sends").mkdir(exist_ok=True)
        if servers not in _reused:
            _reused[servers] = ReusedProcesses(Broker(servers))
        self.venue = _reused[servers].broker
        fleet_environ = {
            **environ_for(self.venue.address),
            "FILLCAST_VAR": str(folder),  # its high-water mark belongs to this case's database
            **(environ or {}),
        }
        self.fleet = Fleet(servers, folder, fleet_environ)
        self.ours: Database = servers.ours
        self.books: Database = servers.books
        self._late = False
        self._unprotected = UnprotectedTime(self.ours, self.books)
        self._watching = ExitStack()
        self.count = InvariantCounts(self.ours, self.books, lambda: self.operator.do("audit"))

    def __enter__(self) -> Self:
        self.venue.start()
        self.servers.fresh(self._state or self.servers.state_with(ACCOUNTS))
        self.ours.rows("UPDATE connections_accountsnapshot SET read_at = clock_timestamp()")
        self._watching.enter_context(self._unprotected.watching())
        return self

    def __exit__(self, *_: object) -> None:
        self._watching.close()
        self.fleet.end_all()
        if self._late:
            self.venue.kill()  # no late order of this case may arrive in the next one

    @property
    def operator(self) -> OperatorProcess:
        """The operator's process: reused over the cases of a run, restarted after it has ended."""
        reused = _reused[self.servers]
        if reused.operator is None or not reused.operator.alive:
            environ = {
                **self.fleet.environ,
                "FILLCAST_DB_ROLE": "trade",
                **environ_for(self.venue.address),  # without the faulty network
            }
            reused.operator = OperatorProcess(environ, self.servers.folder)
        return reused.operator

    # ---- the broker's behaviour -----------------------------------------------------------
    def broker(self, **faults: Any) -> None:
        """Set the broker's behaviour for all accounts (fields of PaperAccount)."""
        self._late = self._late or "latency_ms" in faults
        for name, value in faults.items():
            self.books.rows(f"UPDATE paper_account SET {name} = %s", value)

    def quote(self, bid: str = "1.09990", ask: str = "1.10000") -> None:
        """Give the broker and us a new price."""
        self.operator.do("quote", bid=bid, ask=ask)

    def engine_guards(self) -> None:
        """From now on the engine guards all levels, not the broker."""
        self.ours.rows(
            "UPDATE connections_executionconnection SET settings = '{\"native_stops\": false}'"
        )
        self.broker(native_stops=False)

    def netting(self) -> None:
        """From now on each account has one position per symbol."""
        self.ours.rows(
            'UPDATE connections_executionconnection SET settings = \'{"position_mode": "NETTING"}\''
        )
        self.ours.rows("UPDATE connections_accountsnapshot SET position_mode = 'NETTING'")
        self.broker(position_mode="NETTING")

    def rules_decide(self) -> None:
        """From now on a provider of rules decides about each entry."""
        self.ours.rows(RULES_DECIDE)

    # ---- waiting --------------------------------------------------------------------------
    def settle(self, seconds: float = SETTLE_SECONDS) -> float:
        """Wait until all orders are settled; return how long that took."""
        return wait_until(
            lambda: self.count.unsettled() == 0,
            seconds,
            lambda: f"still open: {self.count.states('%')}\n{self.fleet.log()}",
        )

    def wait(self, what: Callable[[], Any], otherwise: str, seconds: float = 60) -> float:
        """Wait for a condition; `otherwise` is the message if it does not come."""
        return wait_until(
            what, seconds, lambda: f"{otherwise}: {self.count.states('%')}\n{self.fleet.log()}"
        )

    def taken_over(self, victim: Process) -> bool:
        """Return whether no order is left that only the victim was working on."""
        return not self.ours.rows(
            "SELECT 1 FROM execution_order o LEFT JOIN execution_workerlease w ON w.id ="
            " o.worker_id"
            " WHERE o.status = 'SUBMITTING' AND (w.pid = %s OR w.id IS NULL) LIMIT 1",
            victim.pid,
        )

    def unprotected_seconds(self) -> float:
        """Return the longest time that a position had no stop, by the broker's books."""
        return self._unprotected.longest

    def recorded_unprotected_seconds(self) -> float:
        """Return the longest time that a position had no stop, by the product's own figure."""
        return float(self.ours.value(RECORDED))

    def expect_protected(self) -> None:
        """Raise AssertionError if a position had no stop for more than five seconds, by the
        broker's books or by the product's own figure."""
        assert self._unprotected.samples > 0, "the broker's books were not read"
        unprotected, recorded = self.unprotected_seconds(), self.recorded_unprotected_seconds()
        assert unprotected <= MAX_SECONDS, f"a position had no stop for {unprotected:.1f} s"
        assert recorded <= MAX_SECONDS, f"{recorded:.1f} s without a stop are recorded"
        print(f"without a stop: {unprotected:.1f} s at most, recorded {recorded:.1f} s")

    def positions(self) -> list[int]:
        """Return the ids of our open positions."""
        open_positions = self.ours.rows(
            "SELECT id FROM positions_executionposition WHERE quantity > 0"
        )
        return [row.id for row in open_positions]

    def filled(self, legs: str = "entry%") -> int:
        return self.count.states(legs).get("FILLED", 0)


class Scenario:
    """The orders in flight at a fault and the time until settled, printed for the reader."""

    def __init__(self, environment: FaultEnvironment) -> None:
        self._environment = environment
        self.at_fault = environment.count.states("%")
        self.in_flight = environment.count.in_flight()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """The time since the fault."""
        return time.monotonic() - self._began

    def end(self) -> float:
        """Print that all is settled. Return the seconds since the fault."""
        seconds = self.seconds
        print(
            f"at the fault {self.in_flight} in flight, {self.at_fault};"
            f" settled after {seconds:.1f} s: {self._environment.count.states('%')}"
        )
        return seconds
