"""After a change of an account's settings, entries wait for its connection test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from connections.tasks import run_due_tests
from execution.models import Order
from tests.execution import factories
from tests.until import until
from tests.waiting.brokers import Account, account_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def account(
    transactional_db: None, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Account]:
    with account_at("paper", tmp_path, settings, monkeypatch) as started:
        yield started


def test_entry_is_sent_after_test_of_new_settings(account: Account) -> None:
    client, path = APIClient(), f"/api/v1/connections/{account.row.pk}/"
    client.force_authenticate(user=account.row.user)
    changed = client.patch(path, {"settings": {"reply_timeout": 2}}, format="json")
    assert changed.status_code == 200, changed.json()
    account.quote()
    factories.signal(account.feed)
    (order,) = client.get("/api/v1/orders/").json()["results"]
    print(order["status"], order["reason"])
    assert (order["status"], order["reason"]["code"]) == ("PENDING", "CONNECTION_TEST_PENDING")
    assert order["waiting_since"] is not None
    assert account.arrived() == []
    run_due_tests()  # as beat has it done every few seconds
    account.quote()
    until(lambda: Order.objects.get().status == "FILLED", seen=lambda: Order.objects.values())
    assert len(account.arrived()) == 1
