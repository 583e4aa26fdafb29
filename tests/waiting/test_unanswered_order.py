"""An order without an answer counts as filled and does not delay other entries of its account.

The broker swallows one order, then five signals come within ten seconds.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from execution.models import Order
from tests.execution import factories
from tests.until import came_true, until
from tests.waiting.brokers import KINDS, Account, account_at

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.slow]
OFTEN = ("paper",)
OTHERS = [kind for kind in KINDS if kind not in OFTEN]
SIGNALS, APART_SECONDS, AT_BROKER_SECONDS = 5, 1.5, 60.0


@pytest.fixture(
    params=[*OFTEN, *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in OTHERS)]
)
def account(
    request: pytest.FixtureRequest,
    transactional_db: None,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Account]:
    with account_at(request.param, tmp_path, settings, monkeypatch) as started:
        yield started


def test_entries_after_an_unanswered_order_reach_the_broker(account: Account) -> None:
    account.swallow()
    factories.signal(account.feed)
    until(account.has_taken, seen=lambda: Order.objects.values("status", "reason", "detail"))
    account.recover()
    published: dict[int, float] = {}
    took: dict[int, float] = {}

    def note() -> bool:
        arrived = set(account.arrived())
        orders = Order.objects.filter(signal_id__in=published, client_order_id__in=arrived)
        for signal_id in orders.values_list("signal_id", flat=True):
            took.setdefault(signal_id, time.monotonic() - published[signal_id])
        return len(took) == SIGNALS

    for _ in range(SIGNALS):
        account.quote()
        published[factories.signal(account.feed).pk] = time.monotonic()
        came_true(note, APART_SECONDS)
    came_true(note, AT_BROKER_SECONDS + 2)
    print([round(took.get(pk, float("inf")), 1) for pk in published])
    orders = list(Order.objects.values_list("status", "reason", "detail", "send_retries"))
    assert len(took) == SIGNALS, orders
    assert max(took.values()) < AT_BROKER_SECONDS, (took, orders)
    arrived = account.arrived()
    assert len(arrived) == len(set(arrived))  # no order twice
    assert not Order.objects.filter(send_retries__gt=0).exists(), orders
    assert Order.objects.order_by("pk")[0].client_order_id not in arrived
