"""A connection without a scope and a lane gets both by a passed test."""

import pytest

from connections.models import ExecutionConnection
from tests.connections import make
from tests.connections.claiming import failed, run
from tests.connections.fake_brokers import Broker
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_passed_test_assigns_missing_scope_and_lane(
    alice: User, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lane is set when the test begins; the process that holds the lane makes the test."""
    row = make.connection(alice, type="mt5", settings={"server": "Broker-Demo"}, account="7")
    ExecutionConnection.objects.update(account_scope="", lane="", sealed_credentials=None)
    assert failed(run(row, broker)) == ["worker"]
    assert broker.asked == [], "two processes would speak to it"
    row.refresh_from_db()
    assert (row.account_scope, row.lane) == ("", "mt5.main")
    monkeypatch.setattr("connections.session_lanes._held_lanes", lambda: ("mt5.main",))
    assert failed(run(row, broker)) == []
    row.refresh_from_db()
    assert row.account_scope == "broker-demo"


def test_duplicate_account_keeps_its_scope(alice: User, broker: Broker) -> None:
    older = make.connection(alice, type="crypto", exchange_name="binance", account="main")
    ExecutionConnection.objects.update(account_scope="", lane="", sealed_credentials=None)
    make.connection(alice, type="crypto", exchange_name="binance", account="main")
    assert failed(run(older, broker)) == []
    older.refresh_from_db()
    assert older.account_scope == ""
