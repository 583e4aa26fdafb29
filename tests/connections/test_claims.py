"""Whose account it is, where several say that it is theirs: a passed test says it."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib import import_module
from ipaddress import ip_network
from threading import Barrier
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction
from pytest_django import Settings

from brokers.base import ReadFailed
from brokers.messages import AccountState, Check, CheckResult
from common.codes import Code
from common.sql import rows as run_rows
from common.sql import run as run_sql
from connections import polling, services, testing
from connections.account_settings import claim_of
from connections.models import ConnectionHealth, ExecutionConnection
from connections.selectors import due_tests
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.connections.doubles import Broker, account
from tests.paper.broker_process import until
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
BLOCKED = "SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def alice() -> User:
    return make.user("alice")


@pytest.fixture
def mallory() -> User:
    return make.user("mallory")


def connect(owner: User, **fields: Any) -> ExecutionConnection:
    said = {"name": f"of {owner}", "type": "paper", "account": "7", "by": owner, "user": owner}
    return services.create_connection(**{**said, **fields})


def run(row: ExecutionConnection, broker: Broker) -> list[Check]:
    return testing.run_test(row.pk, adapter=broker)


def failed(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if check.result is CheckResult.FAIL]


def health_of(row: ExecutionConnection) -> ConnectionHealth:
    return ConnectionHealth.objects.get(pk=row.pk)


def claim(row: ExecutionConnection) -> str:
    return ExecutionConnection.objects.get(pk=row.pk).claim


def test_a_number_that_somebody_typed_does_not_keep_its_owner_out(
    alice: User, mallory: User, broker: Broker
) -> None:
    squatter = connect(mallory)
    owner = connect(alice)
    assert failed(run(owner, broker)) == []
    assert (health_of(owner).status, claim(owner)) == ("ACTIVE", "paper|||7|")
    assert failed(run(squatter, broker)) == ["owner"]
    told = health_of(squatter)
    assert (told.status, claim(squatter)) == ("ERROR", "")
    assert "by somebody else, whose test has passed" in told.last_error
    assert "change its password" in told.last_error
    assert alice.username not in told.last_error


def test_who_failed_its_test_holds_nothing(alice: User, mallory: User, broker: Broker) -> None:
    squatter, owner = connect(mallory), connect(alice)
    broker.checks = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert failed(run(squatter, broker)) == ["broker"]
    broker.checks = []
    assert failed(run(owner, broker)) == []
    assert (claim(squatter), claim(owner)) == ("", "paper|||7|")


@pytest.mark.parametrize("how", ["its settings have changed", "its login is refused"])
def test_a_claim_whose_test_counts_no_more_gives_way(
    alice: User, mallory: User, broker: Broker, how: str
) -> None:
    once, now = connect(mallory), connect(alice)
    assert failed(run(once, broker)) == []
    assert failed(run(now, broker)) == ["owner"]
    if how == "its login is refused":
        services.mark_errors([(once.pk, "The broker refused the login.")])
    else:
        services.set_credentials(once.pk, by=mallory, values={"password": "other"})
    assert failed(run(now, broker)) == []
    assert (claim(once), claim(now)) == ("", "paper|||7|")
    told = health_of(once)
    assert (told.status, told.needs_test, told.reconciled_at) == ("ERROR", True, None)
    assert "Another connection has passed a test with this account" in told.last_error


def test_an_answer_gives_no_claim_back(alice: User, mallory: User, broker: Broker) -> None:
    once, now = connect(mallory), connect(alice)
    run(once, broker)
    services.mark_errors([(once.pk, "The broker refused the login.")])
    run(now, broker)
    assert services.mark_active([once.pk]) == []  # an exit of it was answered, say
    assert health_of(once).status == "ERROR"
    assert due_tests(5) == [once.pk]  # and so it is tested, which tells
    assert failed(run(once, broker)) == ["owner"]
    assert health_of(now).status == "ACTIVE"


def test_who_is_merely_not_reached_keeps_its_claim(
    alice: User, mallory: User, broker: Broker
) -> None:
    owner, other = connect(alice), connect(mallory)
    run(owner, broker)
    for _ in range(3):
        services.mark_failures([(owner.pk, "No answer.")])
    assert health_of(owner).status == "ERROR"
    assert failed(run(other, broker)) == ["owner"]
    assert claim(owner) == "paper|||7|"


def test_what_is_archived_holds_nothing(alice: User, mallory: User, broker: Broker) -> None:
    once, now = connect(mallory), connect(alice)
    run(once, broker)
    services.archive_connection(once.pk, by=mallory)
    assert failed(run(now, broker)) == []


def test_the_brokers_number_counts_not_the_typed_one(
    alice: User, mallory: User, broker: Broker
) -> None:
    """`007` and `7` are one login to a broker that reads numbers."""
    run(connect(alice), broker)
    assert failed(run(connect(mallory, account="007"), broker)) == ["owner"]


def test_an_owner_is_told_which_of_his_it_is(alice: User, broker: Broker) -> None:
    run(connect(alice, name="First"), broker)
    checks = run(connect(alice, name="Second", account="007"), broker)
    assert failed(checks) == ["owner"]
    assert "as 'First'" in checks[-1].detail


def test_two_that_test_at_once_get_one_claim(alice: User, mallory: User) -> None:
    rows = [connect(alice), connect(mallory)]
    both = Barrier(2, timeout=20)
    with elsewhere(lambda: run(rows[0], _waiting(both))) as told:
        here = run(rows[1], _waiting(both))
    outcomes = sorted([failed(told[0]), failed(here)])
    assert outcomes == [[], ["owner"]]
    assert sorted(health_of(row).status for row in rows) == ["ACTIVE", "ERROR"]
    assert sorted(claim(row) for row in rows) == ["", "paper|||7|"]


def _waiting(both: Barrier) -> Broker:
    broker = Broker()

    def meet() -> None:
        both.wait()

    broker.on_call = meet
    return broker


def test_a_test_of_what_has_changed_meanwhile_claims_nothing(alice: User, broker: Broker) -> None:
    row = connect(alice)

    def change() -> None:
        with elsewhere(
            lambda: services.set_credentials(row.pk, by=alice, values={"password": "new"})
        ) as done:
            pass
        assert done == [None]

    broker.on_call = change
    run(row, broker)
    assert claim(row) == ""
    assert (health_of(row).status, health_of(row).needs_test) == ("UNTESTED", True)
    assert due_tests(5) == [row.pk]


@pytest.mark.parametrize("what", ["settings", "credentials"])
def test_a_change_counts_though_its_clock_is_behind_the_tests(
    alice: User, broker: Broker, what: str
) -> None:
    row = connect(alice)

    def change() -> None:
        if what == "settings":
            services.update_connection(row.pk, by=alice, settings={"update_interval_seconds": 5})
        else:
            services.set_credentials(row.pk, by=alice, values={"password": "new"})
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        ConnectionHealth.objects.filter(pk=row.pk).update(test_requested_at=long_ago)

    def meanwhile() -> None:
        with elsewhere(change) as done:
            pass
        assert done == [None]

    broker.on_call = meanwhile
    run(row, broker)
    assert (claim(row), health_of(row).needs_test) == ("", True)
    assert due_tests(5) == [row.pk]


def test_hosts_whose_clocks_differ_ask_and_test_by_the_databases(
    alice: User, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connect(alice)
    for ahead in (timedelta(hours=1), timedelta(hours=-1)):
        now = datetime.now(UTC) + ahead
        with monkeypatch.context() as here:
            here.setattr("django.utils.timezone.now", lambda now=now: now)
            services.request_test(row.pk)
        assert due_tests(5) == [row.pk]
        run(row, broker)
        assert due_tests(5) == []


def test_other_settings_hold_no_claim_until_they_are_tested(
    alice: User, mallory: User, broker: Broker
) -> None:
    """It may be on another server now: whoever has the account is no reason to put it in error."""
    moved, now = connect(alice), connect(mallory)
    run(moved, broker)
    services.update_connection(moved.pk, by=alice, name="Mine")
    assert claim(moved) == "paper|||7|"
    services.update_connection(moved.pk, by=alice, settings={"update_interval_seconds": 5})
    assert claim(moved) == ""
    assert failed(run(now, broker)) == []
    assert health_of(moved).status == "UNTESTED"


def test_a_test_that_ends_while_its_account_is_edited_waits_without_its_health(
    alice: User, broker: Broker
) -> None:
    """Who edits has the connection's row, and changes its health next."""
    row = connect(alice)
    with ExitStack() as testing_it, transaction.atomic():
        services.update_connection(row.pk, by=alice, name="Mine")
        done = testing_it.enter_context(elsewhere(lambda: run(row, broker)))
        until(lambda: bool(run_rows(BLOCKED)) or bool(done))
        assert not done
        free = ConnectionHealth.objects.select_for_update(no_key=True, nowait=True)
        assert free.get(pk=row.pk).status == "UNTESTED"
        services.set_credentials(row.pk, by=alice, values={"password": "new"})
    assert (claim(row), health_of(row).status) == ("", "UNTESTED")
    assert due_tests(5) == [row.pk]


def test_what_needs_a_test_is_not_made_well_by_its_next_answer(alice: User, broker: Broker) -> None:
    """A new account whose broker was away when it was tested: read again, and then tested."""
    row = connect(alice)
    broker.checks = ReadFailed(Code.BROKER_UNREACHABLE)
    services.request_test(row.pk)
    run(row, broker)
    assert due_tests(5) == []
    assert polling.refresh_due_accounts(adapter=broker) == (0, 0)  # it is in doubt: looked at again
    services.mark_active([row.pk])
    assert health_of(row).status == "ERROR"
    assert due_tests(5) == [row.pk]
    broker.checks = []
    assert failed(run(row, broker)) == []
    assert health_of(row).status == "ACTIVE"


def test_an_exchange_says_whose_key_it_is(alice: User, mallory: User, broker: Broker) -> None:
    """A name that its owner gives is nobody's number: what the exchange calls the key's account
    is."""
    named: dict[str, Any] = {
        "type": "crypto", "exchange_name": "kraken", "settings": {"symbols": ["BTC/USD"]},
    }  # fmt: skip
    main, other, third = (
        connect(user, account=name, **named, credentials={"api_key": key, "secret": "s"})
        for user, name, key in (
            (alice, "main", "k1"), (mallory, "main", "k2"), (mallory, "second", "k3"),
        )
    )  # fmt: skip
    states: dict[str, AccountState] = {
        str(main.pk): account(account="main", identity="AA11"),
        str(other.pk): account(account="main", identity="BB22"),
        str(third.pk): account(account="second", identity="AA11"),
    }
    broker.states = states
    assert [failed(run(row, broker)) for row in (main, other, third)] == [[], [], ["owner"]]
    assert claim(main) == "crypto|kraken||AA11|"
    states[str(third.pk)] = account(account="second")  # now it tells no such thing
    assert failed(run(third, broker)) == ["owner"], "it was told of this very key"
    services.set_credentials(third.pk, by=mallory, values={"api_key": "other", "secret": "s"})
    assert failed(run(third, broker)) == []
    assert claim(third) == ""


def test_a_failed_claim_is_not_made_good_by_an_answer(
    alice: User, mallory: User, broker: Broker
) -> None:
    """One from before there were claims needs no test; its first one tells whose the account is."""
    owner, other = connect(alice), connect(mallory)
    run(owner, broker)
    ConnectionHealth.objects.filter(pk=other.pk).update(status="ACTIVE", needs_test=False)
    assert failed(run(other, broker)) == ["owner"]
    services.mark_active([other.pk])
    assert (health_of(other).status, health_of(owner).status) == ("ERROR", "ACTIVE")


def test_a_holder_that_was_edited_while_its_account_was_claimed_keeps_its_own_error(
    alice: User, mallory: User, broker: Broker
) -> None:
    """It is on another server now: that somebody else has this account is no news to it."""
    moved, now = connect(alice), connect(mallory)
    run(moved, broker)
    with ExitStack() as testing_it, transaction.atomic():
        services.update_connection(moved.pk, by=alice, settings={"update_interval_seconds": 5})
        done = testing_it.enter_context(elsewhere(lambda: run(now, broker)))
        until(lambda: bool(run_rows(BLOCKED)) or bool(done))
        assert not done
    assert failed(done[0]) == []
    assert (claim(moved), claim(now)) == ("", "paper|||7|")
    assert (health_of(moved).status, health_of(moved).last_error) == ("UNTESTED", "")


def test_a_failed_test_of_former_credentials_says_nothing_of_the_present_ones(
    alice: User, broker: Broker
) -> None:
    """Their test was asked for before the former one's began, and was seen only after it."""
    row = connect(alice)
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def change() -> None:
        services.set_credentials(row.pk, by=alice, values={"password": "new"})
        ConnectionHealth.objects.filter(pk=row.pk).update(test_requested_at=long_ago)

    def meanwhile() -> None:
        with elsewhere(change) as done:
            pass
        assert done == [None]

    broker.on_call, broker.checks = meanwhile, ReadFailed(Code.CREDENTIALS_REFUSED)
    assert failed(run(row, broker)) == ["broker"]
    told = health_of(row)
    assert (told.status, told.last_error, told.last_test) == ("UNTESTED", "", [])
    assert due_tests(5) == [row.pk]


def test_a_gateway_of_ones_own_is_believed_of_its_own_only(settings: Settings) -> None:
    """IBKR: who runs a gateway may let it say any number. The operators' gateways are one firm."""
    settings.FILLCAST_BROKER_HOSTS = (ip_network("10.0.0.0/8"),)

    def of(host: str) -> str:
        return claim_of("ibkr", "", 1, {"host": host}, account="U7")

    assert of("10.0.0.1") == of("10.0.0.2") == "ibkr|||U7|"
    assert of("8.8.8.8") == "ibkr|||U7|8.8.8.8" == of("::ffff:8.8.8.8")
    assert of("gw.example.com") == "ibkr|||U7|gw.example.com"


def test_the_database_keeps_a_claim_single(alice: User, mallory: User) -> None:
    rows = [connect(alice), connect(mallory)]
    with pytest.raises(IntegrityError, match="one_claim_an_account"):
        run_sql("UPDATE connections_executionconnection SET claim = 'x' WHERE id = ANY(%s)",
                ([row.pk for row in rows],))  # fmt: skip


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
