"""Several actors close one position at the same time: with threads, and with one-cancels-all
groups at the broker (race.py)."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from functools import partial
from threading import Barrier

import pytest
from django.db import connection

from brokers.base import Rejected
from brokers.types import ExitSafety, Quote
from common.clocks import market_now
from connections.models import AccountSnapshot, ExecutionConnection
from execution.monitoring import broker_positions
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.tick_monitor import TickMonitor
from execution.services import close_position
from execution.submission.claim import claim
from positions.models import ExecutionPosition
from tests.execution import factories
from tests.execution.exits.race import account, run_races
from tests.execution.fake_broker import FakeBroker
from tests.execution.netting_model import NettingModel

__all__ = ["account"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("safety", "mode"),
    [(ExitSafety.OCA, "NETTING")],
    ids=str,
)
def test_position_is_closed_once_in_every_order_of_events(
    account: ExecutionConnection, broker: FakeBroker, safety: ExitSafety, mode: str
) -> None:
    run_races(account, broker, safety, mode)


@pytest.mark.django_db(transaction=True)
def test_concurrent_threads_close_a_position_once(
    account: ExecutionConnection, broker: FakeBroker
) -> None:
    """Ticks, minute scan, manual closes, CLOSE and claims, each with its own connection."""
    AccountSnapshot.objects.update(position_mode="NETTING")  # so that the engine guards levels
    broker.nets = NettingModel(ExitSafety.TICKET, netting=True)
    feed = account.subscriptions.get().feed
    for _ in range(8):
        closing_signal, kept_signal = factories.signal(feed), factories.signal(feed, sl=D("1.05"))
        factories.fill_all()
        position = ExecutionPosition.objects.get(signal=closing_signal)
        factories.quote(account, "1.08500")
        below_stop = Quote("EUR/USD", D("1.08500"), D("1.08510"), market_now())
        assert account.data_connection_id
        source = account.data_connection_id
        actors: list[Callable[[], object]] = [
            partial(close_position, position.pk),
            partial(close_position, position.pk, fraction=D("0.5")),
            partial(factories.close_signal, closing_signal),
            partial(TickMonitor().process_quotes, source, [below_stop]),
            scan_levels,
        ]
        run_at_once(actors)
        run_at_once([claim_and_fill] * 3)
        settle()
        position.refresh_from_db()
        assert (position.quantity, position.reserved) == (0, 0)
        assert ExecutionPosition.objects.get(signal=kept_signal).quantity == 100
        factories.quote(account)
    assert (broker.nets.reversed, broker.nets.stolen) == ([], [])


def run_at_once(actors: Sequence[Callable[[], object]]) -> None:
    """Run them in threads that start together; a failure in one fails the test."""
    start = Barrier(len(actors))

    def run(actor: Callable[[], object]) -> None:
        start.wait(60)
        try:
            actor()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actors)) as pool:
        for future in [pool.submit(run, actor) for actor in actors]:
            future.result(60)


def claim_and_fill() -> None:
    """Claim what is due, fill it at the broker and write the outcomes, as a worker does."""
    for outgoing in claim(factories.pending(), worker_id=factories.OWNER).outgoing:
        try:
            factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
        except Rejected as rejection:
            factories.answer(outgoing, rejection)


def settle() -> None:
    """Repeat what workers do periodically, until no exit is left to be made."""
    for _ in range(8):
        broker_positions.refresh()
        scan_levels()
        claim_and_fill()
        factories.pass_time(2)
