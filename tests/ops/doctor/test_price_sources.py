"""The doctor states which price sources provide nothing, why, and what to do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.types import CheckResult
from common.reason_codes import Code
from connections.models import DataConnection, ExecutionConnection, LaneLease, SourceHealth
from connections.services import use_own_prices
from ops.doctor.prices import market_data
from ops.doctor.verdicts import FAIL, OK, WARN
from tests.connections import make

pytestmark = pytest.mark.django_db


def source_of(name: str = "Mine", **fields: Any) -> ExecutionConnection:
    account = make.connection(type="mt4", name=name)
    source = use_own_prices(account.pk, by=account.user)
    now = datetime.now(UTC)
    SourceHealth.objects.create(
        source=source, **{"last_contact_at": now, "pairs": ["EUR/USD"], **fields}
    )
    return account


@pytest.mark.parametrize(
    ("fields", "result", "text"),
    [
        ({}, OK, "Follows EUR/USD."),
        ({"pairs": []}, OK, "No pair is needed yet"),
        ({"missing": ["EUR/USD"]}, WARN, "No usable price of EUR/USD."),
        ({"error_code": "INVALID_QUOTE"}, WARN, "Partial"),
        (
            {"error_code": "NO_MARKET_DATA", "error": "It is delayed.", "last_contact_at": None},
            FAIL,
            "It is delayed.",
        ),
    ],
)
def test_status_of_a_brokers_price_stream(
    fields: dict[str, Any], result: CheckResult, text: str
) -> None:
    source_of(**fields)
    (check,) = market_data()
    assert (check.name, check.result) == ("market data: Mine: its own broker", result)
    assert text in check.detail
    if fields.get("error_code") == "NO_MARKET_DATA":
        assert check.hint == Code.NO_MARKET_DATA.hint


def test_source_without_worker_names_the_queue_to_run() -> None:
    account = source_of(last_contact_at=datetime.now(UTC) - timedelta(hours=2))
    (check,) = market_data()
    assert check.result is FAIL
    assert "No prices for 2 h" in check.detail
    assert "sessions" in check.hint  # the queue of its lane
    now = datetime.now(UTC)
    LaneLease.objects.create(
        lane=account.lane, owner="w", acquired_at=now, until=now + timedelta(hours=1)
    )
    (check,) = market_data()
    assert check.result is FAIL


def test_used_source_that_is_switched_off_fails() -> None:
    account = source_of()
    DataConnection.objects.filter(broker_connection=account).update(is_active=False)
    (check,) = market_data()
    assert (check.result, check.detail.split(",")[0]) == (FAIL, "Switched off")


def test_sources_with_the_same_remedy_are_one_line(
    django_assert_max_num_queries: Any,
) -> None:
    """Each tenant's account may have its own source: an outage would give a hundred lines."""
    for number in range(5):
        source_of(f"Off {number}", error_code="CONNECTION_ERROR", error=f"No. {number} fails.",
                 last_contact_at=None)  # fmt: skip
        source_of(f"Well {number}")
    with django_assert_max_num_queries(2):
        failing, well = market_data()
    assert failing.name.startswith("market data: Off 0: its own broker, Off 1")
    assert failing.name.endswith("and 2 more")
    assert failing.detail == "No prices, for 5 accounts. Off 0: its own broker: No. 0 fails."
    assert failing.result is FAIL
    assert (well.result, well.detail) == (OK, "Well 0: its own broker: Follows EUR/USD.")
