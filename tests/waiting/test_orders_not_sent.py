"""An entry that cannot reach its broker waits until its signal is too old.

The broker's terminal sends no order but still reports the account. So the account stays healthy,
and only the order meets the fault.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from execution.models import ExecutionLog, Order
from tests.execution import factories
from tests.operational import set_setting
from tests.until import until
from tests.waiting.brokers import Account, account_at

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True), pytest.mark.slow]
SENDINGS = 7  # more than the five tries after which such an entry ended earlier
REACHES = {
    "CONNECTION_UNREACHABLE",
    "CONNECTION_NOT_RECONCILED",
    "NOT_CONNECTED",
    "BROKER_HOST_DOWN",
}


@pytest.fixture(params=("mt5", pytest.param("mt4", marks=pytest.mark.exhaustive)))
def account(
    request: pytest.FixtureRequest,
    transactional_db: None,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Account]:
    set_setting(
        "execution.market_entry_max_age_seconds", 120
    )  # for a machine that also runs other tests
    with account_at(request.param, tmp_path, settings, monkeypatch) as started:
        yield started


def test_entry_waits_while_terminal_sends_no_orders(account: Account) -> None:
    assert account.refuse is not None
    account.refuse()
    began = time.monotonic()
    order = Order.objects.get(signal=factories.signal(account.feed))

    def sendings() -> int:
        return ExecutionLog.objects.filter(order_id=order.pk, code="INTENT").count()

    def state() -> tuple[str, str, int]:
        order.refresh_from_db()
        return order.status, order.reason, order.send_retries

    until(lambda: sendings() >= SENDINGS or state()[0] == "FAILED")
    print(f"after {time.monotonic() - began:.1f} s and {sendings()} sendings: {state()}")
    until(lambda: state()[0] == "PENDING", seen=lambda: state())
    assert (order.send_retries, order.detail != "") == (0, True)
    assert order.reason in REACHES
    assert order.waiting_since is not None
    account.quote()
    account.recover()
    until(lambda: state()[0] == "FILLED", seen=lambda: state())
    assert len(account.arrived()) == 1
