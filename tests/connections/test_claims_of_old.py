"""Accounts from before there were claims, scopes and lanes have theirs by themselves."""

from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from connections import services
from connections.models import ConnectionHealth, ExecutionConnection
from tests.connections import make
from tests.connections.claiming import claim, connect, failed, run
from tests.connections.doubles import Broker
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_was_tested_before_there_were_claims_holds_its_own(alice: User) -> None:
    """By the migration; a kind that nobody here knows claims with its next test."""
    tested, untested = make.connection(alice, account="1"), connect(alice, account="2")
    named = make.connection(alice, type="crypto", account="main", exchange_name="kraken")
    unknown = make.connection(alice, type="gone", account="3")
    failing = make.connection(alice, type="mt5", account="4", settings={"server": "Alpha"},
                              health_status="ERROR")  # fmt: skip
    archived = make.connection(alice, account="5")
    services.archive_connection(archived.pk, by=alice)
    ConnectionHealth.objects.update(needs_test=False)
    import_module("connections.migrations.0014_claims").give_claims(apps, None)
    assert claim(tested) == "paper|||1|"
    assert claim(failing) == "mt5||alpha|4|"
    assert {claim(row) for row in (untested, named, unknown, archived)} == {""}
    waiting = ConnectionHealth.objects.filter(needs_test=True).values_list("pk", flat=True)
    assert list(waiting) == [untested.pk]


def test_the_scopes_that_the_migration_gave_are_the_same_wherever_and_whenever_it_runs(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without the brokers' packages, with the forms of any later version."""
    said: dict[str, tuple[dict[str, Any], str]] = {
        "mt5": ({"server": " Broker-Demo "}, "broker-demo"),
        "mt4": ({"folder": "Alpha"}, "alpha"),
        "mt5-dwx": ({"folder": "beta"}, "beta"),
        "crypto": ({}, f"owner {alice.pk}"),
        "ibkr": ({"host": "8.8.8.8"}, ""),
        "elsewhere": ({"server": "x"}, ""),
    }
    for kind, (settings, _) in said.items():
        make.connection(alice, type=kind, settings=settings)
    ExecutionConnection.objects.update(account_scope="")

    def nobodys(kind: str) -> Any:
        raise ImportError(kind)

    monkeypatch.setattr("connections.account_settings.form_of", nobodys)
    import_module("connections.migrations.0012_scope_of_accounts").give_scopes(apps, None)
    found = dict(ExecutionConnection.objects.values_list("type", "account_scope"))
    assert found == {kind: scope for kind, (_, scope) in said.items()}


def test_who_had_no_scope_and_no_lane_has_both_after_a_passed_test(
    alice: User, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a third party's kind, whose package no migration asks; its lane it has from the test's
    begin, and the process that holds that makes the test."""
    row = make.connection(alice, type="mt5", settings={"server": "Broker-Demo"}, account="7")
    ExecutionConnection.objects.update(account_scope="", lane="", sealed_credentials=None)
    assert failed(run(row, broker)) == ["worker"]
    assert broker.asked == [], "two processes would speak to it"
    row.refresh_from_db()
    assert (row.account_scope, row.lane) == ("", "mt5.main")
    monkeypatch.setattr("connections.lanes._held", lambda: ("mt5.main",))
    assert failed(run(row, broker)) == []
    row.refresh_from_db()
    assert row.account_scope == "broker-demo"


def test_an_account_that_its_owner_has_twice_keeps_the_scope_that_it_has(
    alice: User, broker: Broker
) -> None:
    older = make.connection(alice, type="crypto", exchange_name="binance", account="main")
    ExecutionConnection.objects.update(account_scope="", lane="", sealed_credentials=None)
    make.connection(alice, type="crypto", exchange_name="binance", account="main")
    assert failed(run(older, broker)) == []
    older.refresh_from_db()
    assert older.account_scope == ""
