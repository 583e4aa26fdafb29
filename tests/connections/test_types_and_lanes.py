"""Which broker types and lanes live accounts have, each pair once."""

import pytest

from common.clocks import market_now
from common.db.sql import rows
from connections.joins import TYPES_AND_LANES_SQL
from connections.models import ExecutionConnection
from tests.connections import make

pytestmark = pytest.mark.django_db


def found() -> list[tuple[str, str]]:
    return sorted((row.type, row.lane) for row in rows(TYPES_AND_LANES_SQL))


def test_installation_without_accounts_has_none() -> None:
    assert found() == []


def test_each_type_and_lane_of_a_live_account_is_found_once() -> None:
    expected = [
        ("double", ""), ("double", "mt5.a"), ("ibkr", "sessions.10"), ("ibkr", "sessions.2"),
        ("paper", ""),
    ]  # fmt: skip
    for broker_type, lane in [*expected, *expected]:
        row = make.connection(type=broker_type)
        # The lane is computed when an account is saved.
        ExecutionConnection.objects.filter(pk=row.pk).update(lane=lane)
    archived = make.connection(type="mt4")
    ExecutionConnection.objects.filter(pk=archived.pk).update(archived_at=market_now())
    assert found() == expected
