"""Entries wait during a short outage, until their signal is too old; none is skipped."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connections.models import ConnectionHealth
from execution.models import Order
from tests.execution import factories
from tests.fakes.paper_server.operations import set_terms
from tests.until import until
from tests.waiting.brokers import Account, account_at

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.slow]
SIGNALS = 8


@pytest.fixture
def account(
    transactional_db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    with account_at("paper", tmp_path, settings, monkeypatch) as started:
        yield started


def test_signals_of_a_short_outage_are_filled_after_it(account: Account) -> None:
    set_terms(["P1"], {"unreachable": True})
    for _ in range(SIGNALS):
        account.quote()
        factories.signal(account.feed)
        time.sleep(0.8)  # the interval between signals; there is no condition to wait for
    until(lambda: ConnectionHealth.objects.get().status == "ERROR")
    account.quote()
    factories.signal(account.feed)
    late = Order.objects.order_by("pk").last()
    assert late is not None
    assert (late.status, late.reason) == ("PENDING", "CONNECTION_UNREACHABLE")
    assert late.waiting_since is not None
    set_terms(["P1"], {"unreachable": False})
    account.quote()
    began = time.monotonic()

    def orders() -> list[object]:
        return list(Order.objects.values_list("status", "reason", "send_retries"))

    until(lambda: Order.objects.filter(status="FILLED").count() == SIGNALS + 1, seen=orders)
    print(f"{time.monotonic() - began:.1f} s after the broker was back: {orders()}")
    assert len(account.arrived()) == SIGNALS + 1
