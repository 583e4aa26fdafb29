"""The demo from its first to its last line."""

import sys
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from time import sleep
from typing import Any

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

AFTER_THE_LAST = timedelta(minutes=3)  # market time between the last step and the summary
SETTLE_SECONDS = 40.0  # machine time that what is still under way gets then
ROUND_SECONDS = 0.1
TEST_QUEUES = ("maintenance", "execution", "execution")  # queues: three workers share the tests
TOKEN_NAME = "demo"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Options:
    """once: end by itself. verbose: a line an event. speed: market seconds a machine second."""

    once: bool = False
    verbose: bool = False
    speed: float = 60.0


class DemoRun:
    """One run: prepare the stack, play the script, tell what happens, sum up."""

    def __init__(self, stack: Stack, console: Console, options: Options) -> None:
        self._stack, self._options = stack, options
        self._lead = stack_options.lead_seconds()
        self._steps = read_scenario()
        self._output = ConsoleOutput(console, verbose=options.verbose)
        self.result: dict[str, Any] | None = None  # the line for machines, once there is one

    def run(self) -> int:
        """Do all of it; return the exit code. Leaving the stack's `with` stops everything."""
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
            self._output.write("This machine needs longer; the market starts once more", "yellow")
            supervisor.stop()
            self._lead = min(2 * self._lead, stack_options.LONGEST_LEAD)
        return _code(supervisor)

    def _start(self, lead: float) -> Supervisor:
        """Begin a session, on a market clock that leaves the processes time to get ready."""
        reset.begin_session()
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
        """Wait until every connection was tested and compared; False: not in time for the show."""
        while market_now() < self._steps[0].at:
            if supervisor.wait(ROUND_SECONDS):
                return False
            self._output.events()
            if supervisor.unready() or (counts := _tested()) is None:
                continue
            total, well = counts
            self._output.write(
                f"{total} connections tested by the workers: {well} are well and compared with"
                f" their brokers, {total - well} are not",
                "bold",
            )
            return True
        return False

    def _play(self, supervisor: Supervisor) -> int:
        """Follow the script to its end, sum up, and go on until told to stop."""
        door = AlertClient(self._stack.url, accounts.FEED, _new_token())
        for step in self._steps:
            while market_now() < step.at:
                if supervisor.wait(ROUND_SECONDS):
                    return _code(supervisor)
                self._output.events()
            self._run_step(step, door)
        if not self._settle(supervisor):
            return _code(supervisor)
        figures = self._summarize()
        if self._options.once:
            return 0 if figures.holds else 1
        console = self._output.console
        console.print(f"\nIt runs on: look around at {self._stack.url}, Ctrl-C ends it.\n")
        while not supervisor.wait(ROUND_SECONDS):
            self._output.events()
        return _code(supervisor)

    def _run_step(self, step: Step, door: AlertClient) -> None:
        if step.act != "owners":
            self._output.posted(door.post(step))
            return
        try:
            ours = simulated_owners.close_by_api(door)
        except OSError as error:
            self._output.write(str(error), "bold red")
            ours = 0
        theirs = simulated_owners.close_at_the_broker()
        self._output.write(
            f"owners close {ours} positions by the API, and {theirs} at the broker behind us",
            "bold cyan",
        )

    def _settle(self, supervisor: Supervisor) -> bool:
        """Wait until nothing is under way any more, within reason; False: stopped before."""
        end, patience = self._steps[-1].at + AFTER_THE_LAST, float("inf")
        while machine_time() < patience:
            if supervisor.wait(ROUND_SECONDS):
                return False
            self._output.events()
            if market_now() >= end:
                patience = min(patience, machine_time() + SETTLE_SECONDS)
                if is_settled():
                    break
        self._output.events(all_of_them=True)
        return True

    def _summarize(self) -> Results:
        figures = collect(_audit())
        self.result = figures.as_dict()
        console = self._output.console
        report.show(figures, console, verbose=self._options.verbose)
        kept = report.keep(figures, self._stack.folder / "demo")
        console.print(f"All of it, connection by connection: {kept}", style="dim", soft_wrap=True)
        return figures


def _audit(patience: float = 10.0) -> dict[str, Any]:
    """Audit until it holds, within reason: what a broker has just done is still on its way."""
    end = machine_time() + patience
    while not (report := audit()).ok and machine_time() < end:
        sleep(1)
    return report.as_json()


def _tested() -> tuple[int, int] | None:
    """Return how many connections there are and how many are well; None: not all were tested and
    compared with their brokers."""
    health = ConnectionHealth.objects.filter(connection__archived_at=None)
    well = health.filter(status=HealthStatus.ACTIVE)
    if health.filter(last_tested_at=None).exists():
        return None
    if well.filter(connection__is_active=True, reconciled_at=None).exists():
        return None
    return health.count(), well.count()


def _new_token() -> str:
    """Return the secret in the address of this run's alerts; those of earlier runs are gone."""
    feed = Feed.objects.get(slug=accounts.FEED)
    FeedToken.objects.filter(feed=feed, name=TOKEN_NAME).delete()
    return create_feed_token(feed, TOKEN_NAME)[1]


def _code(supervisor: Supervisor) -> int:
    """Say what failed, if something did, and return the exit code of a run that was ended."""
    if supervisor.failure:
        print(supervisor.failure, file=sys.stderr)
    return 1 if supervisor.failure else 0
