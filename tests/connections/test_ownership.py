"""Which of several connections owns an account that each claims: the one whose test passed."""

from ipaddress import ip_network
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError
from pytest_django import Settings

from brokers.base import ReadFailed
from brokers.types import AccountState
from common.db.sql import run as run_sql
from common.reason_codes import Code
from connections import services
from connections.account_settings.validation import claim_for
from connections.models import ConnectionHealth
from connections.selectors import due_tests
from tests.connections.claiming import claim, connect, failed, health_of, run
from tests.connections.conftest import elsewhere
from tests.connections.fake_brokers import Broker, account
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


def test_typed_account_number_does_not_block_its_owner(
    alice: User, mallory: User, broker: Broker
) -> None:
    squatter = connect(mallory)
    owner = connect(alice)
    assert failed(run(owner, broker)) == []
    assert (health_of(owner).status, claim(owner)) == ("ACTIVE", "paper|||7|")
    assert failed(run(squatter, broker)) == ["owner"]
    health = health_of(squatter)
    assert (health.status, claim(squatter)) == ("ERROR", "")
    assert "Another user has connected this account" in health.last_error
    assert "change its password" in health.last_error
    assert alice.username not in health.last_error


def test_failed_test_gives_no_claim(alice: User, mallory: User, broker: Broker) -> None:
    squatter, owner = connect(mallory), connect(alice)
    broker.checks = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert failed(run(squatter, broker)) == ["broker"]
    broker.checks = []
    assert failed(run(owner, broker)) == []
    assert (claim(squatter), claim(owner)) == ("", "paper|||7|")


@pytest.mark.parametrize("how", ["its settings have changed", "its login is refused"])
def test_invalid_claim_is_superseded_by_passed_test(
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
    health = health_of(once)
    assert (health.status, health.needs_test, health.reconciled_at) == ("ERROR", True, None)
    assert "Another connection has passed a test with this account" in health.last_error


def test_poll_does_not_restore_claim(alice: User, mallory: User, broker: Broker) -> None:
    once, now = connect(mallory), connect(alice)
    run(once, broker)
    services.mark_errors([(once.pk, "The broker refused the login.")])
    run(now, broker)
    assert services.mark_active([once.pk]) == []  # an exit of it was answered, say
    assert health_of(once).status == "ERROR"
    assert due_tests(5) == [once.pk]  # so it is tested, which settles it
    assert failed(run(once, broker)) == ["owner"]
    assert health_of(now).status == "ACTIVE"


def test_unreachable_account_keeps_its_claim(alice: User, mallory: User, broker: Broker) -> None:
    owner, other = connect(alice), connect(mallory)
    run(owner, broker)
    for _ in range(3):
        services.mark_failures([(owner.pk, "No answer.")])
    assert health_of(owner).status == "ERROR"
    assert failed(run(other, broker)) == ["owner"]
    assert claim(owner) == "paper|||7|"


def test_archived_connection_holds_no_claim(alice: User, mallory: User, broker: Broker) -> None:
    once, now = connect(mallory), connect(alice)
    run(once, broker)
    services.archive_connection(once.pk, by=mallory)
    assert failed(run(now, broker)) == []


def test_broker_account_number_overrides_typed_one(
    alice: User, mallory: User, broker: Broker
) -> None:
    """`007` and `7` are one login to a broker that reads numbers."""
    run(connect(alice), broker)
    assert failed(run(connect(mallory, account="007"), broker)) == ["owner"]


def test_owner_sees_name_of_own_duplicate_connection(alice: User, broker: Broker) -> None:
    run(connect(alice, name="First"), broker)
    checks = run(connect(alice, name="Second", account="007"), broker)
    assert failed(checks) == ["owner"]
    assert "as 'First'" in checks[-1].detail


@pytest.mark.django_db(transaction=True)
def test_concurrent_tests_produce_one_claim(alice: User, mallory: User) -> None:
    rows = [connect(alice), connect(mallory)]
    both = Barrier(2, timeout=60)
    with elsewhere(lambda: run(rows[0], _waiting(both))) as elsewhere_result:
        here = run(rows[1], _waiting(both))
    outcomes = sorted([failed(elsewhere_result[0]), failed(here)])
    assert outcomes == [[], ["owner"]]
    assert sorted(health_of(row).status for row in rows) == ["ACTIVE", "ERROR"]
    assert sorted(claim(row) for row in rows) == ["", "paper|||7|"]


def _waiting(both: Barrier) -> Broker:
    broker = Broker()

    def meet() -> None:
        both.wait()

    broker.on_call = meet
    return broker


def test_exchange_identifies_account_of_key(alice: User, mallory: User, broker: Broker) -> None:
    """A name given by the owner is no account number: what the exchange calls the key's account
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
    states[str(third.pk)] = account(account="second")  # now the broker reports no identity
    assert failed(run(third, broker)) == ["owner"], "this key has a known identity"
    services.set_credentials(third.pk, by=mallory, values={"api_key": "other", "secret": "s"})
    assert failed(run(third, broker)) == []
    assert claim(third) == ""


def test_poll_does_not_repair_failed_claim(alice: User, mallory: User, broker: Broker) -> None:
    """A connection older than claims needs no test; its first test claims the account."""
    owner, other = connect(alice), connect(mallory)
    run(owner, broker)
    ConnectionHealth.objects.filter(pk=other.pk).update(status="ACTIVE", needs_test=False)
    assert failed(run(other, broker)) == ["owner"]
    services.mark_active([other.pk])
    assert (health_of(other).status, health_of(owner).status) == ("ERROR", "ACTIVE")


def test_private_gateway_is_trusted_for_its_own_account_only(settings: Settings) -> None:
    """IBKR: who runs a gateway may let it say any number. The operators' gateways are one firm."""
    set_setting("networks.broker_networks", (ip_network("10.0.0.0/8"),))

    def of(host: str) -> str:
        return claim_for("ibkr", "", 1, {"host": host}, account="U7")

    assert of("10.0.0.1") == of("10.0.0.2") == "ibkr|||U7|"
    assert of("8.8.8.8") == "ibkr|||U7|8.8.8.8" == of("::ffff:8.8.8.8")
    assert of("gw.example.com") == "ibkr|||U7|gw.example.com"


def test_database_enforces_single_claim(alice: User, mallory: User) -> None:
    rows = [connect(alice), connect(mallory)]
    with pytest.raises(IntegrityError, match="one_claim_an_account"):
        run_sql("UPDATE connections_executionconnection SET claim = 'x' WHERE id = ANY(%s)",
                ([row.pk for row in rows],))  # fmt: skip
