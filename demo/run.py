"""One run of the demo, from its preparation to the summary."""

import sys
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from time import sleep
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from rich.console import Console

from common.clocks import machine_time, market_now, set_market_clock
from connections.models import ConnectionHealth, HealthStatus
from connections.tasks import test_connection
from demo import accounts, report, reset, simulated_owners, stack_options
from demo.console_output import ConsoleOutput
from demo.results import Results, collect, is_settled
from demo.scenario import AlertClient, Step, read_scenario
from demo.seeding import MAX_SIGNAL_AGE, seed
from execution.audit.counters import audit
from ops.stack.stack import Stack
from ops.stack.supervisor import Supervisor
from signals.feeds import create_feed_token
from signals.models import Feed, FeedToken

SUMMARY_DELAY = timedelta(minutes=3)  # market time between the last step and the summary
SETTLE_SECONDS = 40.0  # machine time for orders that are still in progress then
ROUND_SECONDS = 0.1
TEST_QUEUES = ("maintenance", "execution", "execution")  # three workers share the tests
TOKEN_NAME = "demo"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Options:
    """once: stop after the summary. verbose: a line per event. speed: market seconds per second."""

    once: bool = False
    verbose: bool = False
    speed: float = 60.0


class DemoRun:
    """One run: prepare the stack, play the scenario, print what happens, show the summary."""

    def __init__(self, stack: Stack, console: Console, options: Options) -> None:
        """stack: entered, not prepared yet."""
        self._stack, self._options = stack, options
        self._lead = stack_options.lead_seconds()
        self._steps = read_scenario()
        self._output = ConsoleOutput(console, verbose=options.verbose)
        self.result: dict[str, Any] | None = None  # the values of the JSON line, once known

    def run(self) -> int:
        """Run the demo; return the exit code. Leaving the stack's `with` stops everything."""
        self._output.console.print("Preparing database, accounts and prices …", style="dim")
        self._stack.prepare()
        self._output.console.print(self._stack.database, style="dim")
        self._stack.use_here()
        reset.claim_database()
        seed()
        self._output.welcome(self._stack.url, self._stack.folder / "log", self._options.speed)
        for tries_left in (2, 1, 0):
            supervisor = self._start(self._lead)
            with supervisor.signals_handled():
                if self._accounts_ready(supervisor) or not tries_left:
                    return self._play(supervisor)
                if supervisor.wait(0):
                    break
            self._output.write("This machine needs more time; the market starts again", "yellow")
            supervisor.stop()
            self._lead = min(2 * self._lead, stack_options.LONGEST_LEAD)
        return _exit_code(supervisor)

    def _start(self, lead: float) -> Supervisor:
        """Start a session, on a market clock that gives the processes time to get ready."""
        reset.begin_market_session()
        clock = stack_options.clock_in(lead, self._options.speed)
        set_market_clock(clock)
        self._output.clock = clock
        self._stack.environ["FILLCAST_MARKET_CLOCK"] = clock.spec()
        self._stack.environ.setdefault("FILLCAST_POLL_SECONDS", stack_options.POLL_SECONDS)
        self._stack.environ.setdefault("FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS", str(MAX_SIGNAL_AGE))
        supervisor = self._stack.start()
        for queue, connection_id in zip(
            cycle(TEST_QUEUES), reset.connections_to_test(), strict=False
        ):
            test_connection.apply_async((str(connection_id),), queue=queue, retry=False)
        return supervisor

    def _accounts_ready(self, supervisor: Supervisor) -> bool:
        """Wait until every connection is tested and compared; False: not before the first alert."""
        while market_now() < self._steps[0].at:
            if supervisor.wait(ROUND_SECONDS):
                return False
            self._output.events()
            if supervisor.unready() or (counts := _tested()) is None:
                continue
            total, working = counts
            self._output.write(
                f"The workers tested {total} connections: {working} work and match their brokers,"
                f" {total - working} do not",
                "bold",
            )
            return True
        return False

    def _play(self, supervisor: Supervisor) -> int:
        """Play the scenario, show the summary, then run until a signal stops the demo."""
        client = AlertClient(self._stack.url, accounts.FEED, _new_token())
        for step in self._steps:
            while market_now() < step.at:
                if supervisor.wait(ROUND_SECONDS):
                    return _exit_code(supervisor)
                self._output.events()
            self._run_step(step, client)
        if not self._settle(supervisor):
            return _exit_code(supervisor)
        figures = self._summarize()
        if self._options.once:
            return 0 if figures.passes_audit else 1
        console = self._output.console
        console.print(f"\nFillcast keeps running at {self._stack.url}. Press Ctrl-C to stop.\n")
        while not supervisor.wait(ROUND_SECONDS):
            self._events_if_possible()
        return _exit_code(supervisor)

    def _events_if_possible(self) -> None:
        """Print what happened; a database that restarts does not end the demo."""
        try:
            self._output.events()
        except (InterfaceError, OperationalError):
            connection.close()

    def _run_step(self, step: Step, client: AlertClient) -> None:
        if step.act != "owners":
            self._output.alert_posted(client.post(step))
            return
        try:
            by_api = simulated_owners.close_by_api(client)
        except OSError as error:
            self._output.write(str(error), "bold red")
            by_api = 0
        at_broker = simulated_owners.close_at_the_broker()
        self._output.write(
            f"owners close {by_api} positions through the API and {at_broker} at the broker",
            "bold cyan",
        )

    def _settle(self, supervisor: Supervisor) -> bool:
        """Wait until no order is in progress, with a time limit; False: stopped before."""
        end, give_up_at = self._steps[-1].at + SUMMARY_DELAY, float("inf")
        while machine_time() < give_up_at:
            if supervisor.wait(ROUND_SECONDS):
                return False
            self._output.events()
            if market_now() >= end:
                give_up_at = min(give_up_at, machine_time() + SETTLE_SECONDS)
                if is_settled():
                    break
        self._output.events(flush=True)
        return True

    def _summarize(self) -> Results:
        figures = collect(_audit())
        self.result = figures.as_dict()
        console = self._output.console
        report.show(figures, console, verbose=self._options.verbose)
        path = report.keep(figures, self._stack.folder / "demo")
        console.print(f"All figures, with each connection: {path}", style="dim", soft_wrap=True)
        return figures


def _audit(seconds: float = 10.0) -> dict[str, Any]:
    """Audit until it passes, for at most `seconds`: the last reports may not be stored yet."""
    end = machine_time() + seconds
    while not (report := audit()).ok and machine_time() < end:
        sleep(1)
    return report.as_json()


def _tested() -> tuple[int, int] | None:
    """Return the number of connections and of those that work.

    None: some are not yet tested and compared with their brokers.
    """
    health = ConnectionHealth.objects.filter(connection__archived_at=None)
    working = health.filter(status=HealthStatus.ACTIVE)
    if health.filter(last_tested_at=None).exists():
        return None
    if working.filter(connection__is_active=True, reconciled_at=None).exists():
        return None
    return health.count(), working.count()


def _new_token() -> str:
    """Return a new secret for the address of alerts; delete those of earlier runs."""
    feed = Feed.objects.get(slug=accounts.FEED)
    FeedToken.objects.filter(feed=feed, name=TOKEN_NAME).delete()
    return create_feed_token(feed, TOKEN_NAME)[1]


def _exit_code(supervisor: Supervisor) -> int:
    """Print the supervisor's failure, if any, and return the exit code of a stopped run."""
    if supervisor.failure:
        print(supervisor.failure, file=sys.stderr)
    return 1 if supervisor.failure else 0
