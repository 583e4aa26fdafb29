"""One run of the demo, from its preparation to the summary."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from time import sleep
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from rich.console import Console

from common.clocks import machine_time, market_now, set_market_clock
from common.operational.source import VARIABLE, with_settings
from connections.models import ConnectionHealth, HealthStatus
from connections.tasks import test_connection
from demo import accounts, report, reset, simulated_owners, stack_options
from demo.console_output import ConsoleOutput
from demo.results import Results, are_entries_sent, collect, is_settled
from demo.scenario import RELEASE, AlertClient, Step, read_scenario
from demo.seeding import MAX_SIGNAL_AGE, seed
from execution.audit.counters import audit
from ops.stack.stack import Stack
from ops.stack.supervisor import Supervisor
from signals.feeds.services import create_feed_token
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
        self._lead, self._speed = stack_options.lead_seconds(), options.speed
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
        self._output.welcome(self._stack.url, self._stack.folder / "log", self._speed)
        for is_last in (False, False, True):
            supervisor = self._start()
            with supervisor.signals_handled():
                if self._reaches_release(supervisor, is_last=is_last):
                    return self._finish(supervisor)
                if supervisor.wait(0):
                    break
            self._output.write(
                "This machine needs more time; the market starts again, at half the speed", "yellow"
            )
            supervisor.stop()
            self._lead = min(2 * self._lead, stack_options.LONGEST_LEAD)
            self._speed /= 2
        return _exit_code(supervisor)

    def _start(self) -> Supervisor:
        """Start a session, on a market clock that gives the processes time to get ready."""
        reset.begin_market_session()
        clock = stack_options.clock_in(self._lead, self._speed)
        set_market_clock(clock)
        self._output.begin_session(clock)
        self._stack.environ["FILLCAST_REHEARSAL"] = f"clock={clock.spec()}"
        self._stack.environ[VARIABLE] = with_settings(
            self._stack.environ.get(VARIABLE, ""),
            {
                "execution.poll_seconds": stack_options.POLL_SECONDS,
                "execution.market_entry_max_age_seconds": MAX_SIGNAL_AGE,
            },
            keeps=True,
        )
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

    def _reaches_release(self, supervisor: Supervisor, *, is_last: bool) -> bool:
        """Test the accounts and place what precedes the release of the payrolls.

        False: a signal has stopped the demo, or this machine is too slow and this try not the last.
        """
        if not (self._accounts_ready(supervisor) or is_last):
            return False
        self._client = AlertClient(self._stack.url, accounts.FEED, _new_token())
        if not self._play(supervisor, [step for step in self._steps if step.at < RELEASE]):
            return False
        while not are_entries_sent() and market_now() < RELEASE:
            if supervisor.wait(ROUND_SECONDS):
                return False
            self._output.events()
        return is_last or market_now() < RELEASE

    def _play(self, supervisor: Supervisor, steps: Iterable[Step]) -> bool:
        """Act as the scenario says, each step at its time; False: a signal has stopped the demo."""
        for step in steps:
            while market_now() < step.at:
                if supervisor.wait(ROUND_SECONDS):
                    return False
                self._output.events()
            self._run_step(step)
        return True

    def _finish(self, supervisor: Supervisor) -> int:
        """Play the rest, show the summary, then run until a signal stops the demo."""
        rest = [step for step in self._steps if step.at >= RELEASE]
        if not self._play(supervisor, rest) or not self._settle(supervisor):
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

    def _run_step(self, step: Step) -> None:
        if step.act != "owners":
            self._output.alert_posted(self._client.post(step))
            return
        try:
            by_api = simulated_owners.close_by_api(self._client)
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
