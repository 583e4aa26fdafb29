"""Which processes trade: what a Celery worker and the prices process start and stop."""

import gc
import os
import socket
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import structlog
from celery.signals import task_unknown, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import connection

from brokers.messages import Quote
from common.clocks import machine_time
from common.database_errors import is_database_trouble
from connections import lanes, sources
from connections.disallowed import mark_disallowed
from connections.lanes import GENERAL
from connections.listing_reads import refresh_due_listings
from connections.probing import look_again
from connections.tasks import look_for_tests
from events.services import deliver_if_overdue
from execution import services, tasks
from execution.audit import listings, tallies
from execution.calls import runtime, stuck, sweeps
from execution.calls.lanes import OnLane, Wanted, nobody
from execution.calls.polling import poll
from execution.calls.runtime import Round
from execution.calls.sessions import Sessions
from execution.drift.reconcile import reconcile_all, reconcile_new
from execution.epochs import epochs, witness
from execution.exits import holdings
from execution.exits.guardians import step_in
from execution.exits.protection import keep_account
from execution.exits.scan_heartbeat import late_scheduler_alarm, scan_if_overdue
from execution.exits.ticks import Ticks
from execution.exits.wishes import grant_wishes, move_levels
from execution.models import Tally
from execution.outcomes import report_outcomes
from execution.reports.streams import drain_events, drain_now
from prices.live import Live
from prices.loops import use_loop
from prices.runner import PACE, Runner
from prices.signals import prices_started, prices_stopped, quotes_at_paper, quotes_stored

log = structlog.get_logger(__name__)

_ticks, _paper_told = Ticks(), threading.Event()
GUARD_SECONDS = 1.0
SCHEDULER_CHECK_SECONDS = 5.0  # what goes on without the scheduler
RETRY_SECONDS = 0.5
UNCLAIM_EVERY_SECONDS = 5.0
OUTCOMES_SECONDS = 2.0
LANES_SECONDS, NEWS_SECONDS, COMPARE_SECONDS, LISTINGS_SECONDS = 1.0, 0.01, 300.0, 60.0


def connect() -> None:
    """Have every Celery worker of this project start a runtime beside its tasks."""
    worker_ready.connect(on_worker_ready, dispatch_uid="execution.runtime")
    worker_shutting_down.connect(on_worker_shutting_down, dispatch_uid="execution.drain")
    worker_shutdown.connect(on_worker_shutdown, dispatch_uid="execution.end")
    task_unknown.connect(on_task_unknown, dispatch_uid="execution.unknown_task")
    prices_started.connect(on_prices_started, dispatch_uid="execution.prices")
    prices_stopped.connect(on_worker_shutdown, dispatch_uid="execution.prices_end")
    # Two, so that the trouble of one does not keep the other from being called.
    quotes_stored.connect(on_quotes_stored, dispatch_uid="execution.ticks")
    quotes_stored.connect(on_quotes_at_broker, dispatch_uid="execution.quotes")
    quotes_at_paper.connect(on_quotes_at_paper, dispatch_uid="execution.quotes_at_paper")


def on_worker_ready(*, sender: Any, **_: Any) -> None:
    """Take a lease and start looking for work; the queues say what for."""
    queues = {queue.name for queue in sender.task_consumer.queues}
    role, exits_only = "+".join(sorted(queues)), queues == {tasks.EXITS}
    try:
        start_patiently(role, exits_only=exits_only, on_lane=partial(_ring_here, sender, queues))
    except Exception as error:  # Celery would only log it, and go on to fail every task
        log.exception("this worker cannot trade and ends", role=role)
        raise SystemExit(1) from error


def _ring_here(consumer: Any, started_with: Collection[str], lane: str, is_ours: bool) -> None:
    """Hear a lane's bell for as long as it is ours. The consumer's own thread does it."""
    if lane in started_with:
        return
    consumer.call_soon(consumer.add_task_queue if is_ours else consumer.cancel_task_queue, lane)


def on_task_unknown(*, name: str = "", **_: Any) -> None:
    """Celery throws such a message away; somebody should know."""
    tallies.count(Tally.Name.UNKNOWN_TASK, name)


def on_worker_shutting_down(**_: Any) -> None:
    """SIGTERM, in its handler: claim nothing new. What is in hand ends first."""
    runtime.drain()


def on_worker_shutdown(**_: Any) -> None:
    """The last task is done: end the calls in hand, write their outcomes, end the lease."""
    runtime.end()
    use_loop(None)


def on_prices_started(**_: Any) -> None:
    """The prices process hears first what a paper broker has to tell."""
    start_trading("prices", exits_only=True)


def on_quotes_stored(
    *, data_connection_id: int, quotes: Sequence[Quote], waited: float = 0.0, **_: Any
) -> None:
    """Judge the levels that we guard by these quotes, at once."""
    if runtime.started():
        tasks.ring(_ticks.judge(data_connection_id, quotes, waited), queue=tasks.EXITS)


def on_quotes_at_broker(*, at_paper: bool = True, **_: Any) -> None:
    """Quotes have reached the paper broker: apply what it told because of them."""
    if at_paper and runtime.started():
        drain_events()


def on_quotes_at_paper(**_: Any) -> None:
    """The same of a real broker's quotes: who judges levels by those must not wait for paper's."""
    _paper_told.set()


def _hear_paper() -> None:
    if _paper_told.wait(RETRY_SECONDS):
        _paper_told.clear()
        drain_now()


def start_patiently(role: str, *, exits_only: bool, on_lane: OnLane = nobody) -> None:
    """Start trading as soon as the database is there: it may come up after its workers."""
    while True:
        try:
            start_trading(role, exits_only=exits_only, on_lane=on_lane)
        except Exception as error:
            if not is_database_trouble(error):
                raise
            log.warning("waiting for the database", role=role, error=str(error))
            connection.close()
            time.sleep(RETRY_SECONDS)
        else:
            return


def start_trading(
    role: str, *, exits_only: bool = False, on_lane: OnLane = nobody
) -> runtime.Runtime:
    """Start this process's runtime with its own looks for work; returns it."""
    every = _rounds(exits_only)
    wanted = Wanted.of(role.split("+"))
    if exits_only or wanted.any or tasks.MAINTENANCE in role:
        every += (
            ("guardians", GUARD_SECONDS, _guard),
            ("protection", GUARD_SECONDS, keep_account),
            ("holdings", GUARD_SECONDS / 2, _clear_the_way),
            ("overdue level scan", SCHEDULER_CHECK_SECONDS, _scan_if_overdue),
            ("late scheduler", SCHEDULER_CHECK_SECONDS, late_scheduler_alarm()),
        )
    seconds = settings.FILLCAST_LOOK_EVERY_SECONDS
    if wanted.any or tasks.MAINTENANCE in role:
        every += (
            ("startup gate", seconds, reconcile_new),
            ("look again", seconds, look_again),
            ("listings for the audit", seconds, listings.read_requested),
            ("epoch", seconds, lambda: _execute(epochs.settle())),
        )
    if wanted.any:
        every += _rounds_of_sessions(seconds)
    if tasks.MAINTENANCE in role:
        every += (
            ("outlived", seconds, sweeps.withdraw_outlived),
            ("dust", seconds, services.close_dust),
            ("stuck", seconds, stuck.unstick),
            ("limbo", seconds, stuck.tell_of_limbo),
            ("add up what was dropped", seconds, tallies.add_up),
            ("signal outcomes", OUTCOMES_SECONDS, report_outcomes),
            ("overdue events", SCHEDULER_CHECK_SECONDS, deliver_if_overdue),
            ("lanes nobody holds", seconds, services.tell_unheld),
            ("prices nobody follows", COMPARE_SECONDS / 10, sources.note_unheld),
        )
    witness.begin()  # before anything is claimed
    if tasks.MAINTENANCE in role:  # what has a session is judged by whoever takes its lane
        mark_disallowed([GENERAL])
    _spare_the_collector()
    present = runtime.begin(role, on_lane, every=every)
    use_loop(present.wire.loop)  # what follows prices waits for it
    return present


def _spare_the_collector() -> None:
    """Let the garbage collector never look again at what was imported.

    A bundle makes thousands of objects, and each of its collections would walk through all of
    Django: a sixth of what an order costs.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _rounds(exits_only: bool) -> tuple[Round, ...]:
    look_every = settings.FILLCAST_LOOK_EVERY_SECONDS
    bundle = settings.FILLCAST_BUNDLE_SIZE
    looks: tuple[Round, ...] = (
        ("look for exits", look_every, lambda: services.look(bundle, exits_only=True)),
        ("take over", look_every, TakeOver().look),
        ("ask brokers", look_every, _ask_brokers),
        ("wishes", look_every, lambda: _execute(grant_wishes())),
        ("events", look_every, drain_events),
        ("news of paper", NEWS_SECONDS, _hear_paper),
        ("poll", settings.FILLCAST_UPDATE_INTERVAL_SECONDS, poll),
        ("witness", witness.LOOK_SECONDS, witness.look),
    )
    if exits_only:
        return looks
    # On a thread of its own: a wire that is full of entries must not keep exits from being seen.
    return (*looks, ("look", look_every, lambda: services.look(bundle)))


def _rounds_of_sessions(seconds: float) -> tuple[Round, ...]:
    """What a process does for its lanes that others do for all accounts by beat's bell."""

    def sessions() -> Sessions:
        return runtime.present().sessions

    return (
        ("lanes", LANES_SECONDS, lambda: sessions().tend()),
        ("news", NEWS_SECONDS, lambda: sessions().hear(drain_now)),
        ("accounts", LANES_SECONDS, lambda: sessions().read()),
        ("tests", seconds, look_for_tests),
        ("compare", COMPARE_SECONDS, reconcile_all),
        ("listings", LISTINGS_SECONDS, refresh_due_listings),
        ("prices", PACE, _prices_of_lanes().look),
    )


def _prices_of_lanes() -> Runner:
    """Carries the prices of the accounts that only this process may speak to."""

    def ours() -> list[str]:
        return [lane for lane in lanes.held() if lane != GENERAL]

    return Runner(Live(ours, f"{socket.gethostname()}-{os.getpid()}"))


def _execute(order_ids: Sequence[int]) -> None:
    """Send exits: those of our lanes now, the others by their bell."""
    tasks.ring_lanes(order_ids)
    services.execute(order_ids, urgent=True)


def _guard() -> None:
    _execute(step_in())


def _scan_if_overdue() -> None:
    _execute(scan_if_overdue())


def _clear_the_way() -> None:
    """What exits wait for at accounts where they may not leave beside live protection."""
    move_levels()
    _execute(holdings.look())


def _ask_brokers() -> None:
    present = runtime.present()
    sweeps.ask_brokers(present.wire, present.id)


class TakeOver:
    """Takes over from dead processes: orders at each look, claims of look-ups now and then."""

    def __init__(self) -> None:
        self._unclaims_at = 0.0

    def look(self) -> None:
        """Look once."""
        if taken := sweeps.take_over(runtime.present().id):
            log.warning("orders of a dead or silent process are looked up", orders=taken)
        if (now := machine_time()) >= self._unclaims_at:
            self._unclaims_at = now + UNCLAIM_EVERY_SECONDS
            sweeps.unclaim()
