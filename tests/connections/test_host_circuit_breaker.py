"""A host that most of its accounts cannot reach counts as one outage."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.reason_codes import Code
from connections import selectors, services
from connections.health import host_circuit_breaker, probes
from connections.models import ConnectionHealth, ExecutionConnection, HostCircuit
from events.models import Event
from tests.connections import make
from tests.connections.failing import age, connect, fail, kinds, status
from tests.connections.fake_brokers import Broker, account

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"type": "paper"}, "paper"),
        ({"type": "paper", "exchange_name": "Kraken"}, "paper:kraken"),
        ({"type": "paper", "settings": {"host": "Gate.example"}}, "paper:gate.example"),
        ({"type": "paper", "settings": {"server": "Live-3"}, "exchange_name": "x"}, "paper:live-3"),
        ({"type": "paper", "settings": {"host": ""}, "exchange_name": "x"}, "paper:x"),
    ],
)
def test_host_is_derived_from_settings(fields: dict[str, Any], host: str) -> None:
    row = make.connection(**fields)
    row.refresh_from_db()
    assert row.broker_host == host
    assert len(make.connection(settings={"host": "x" * 500}).name) > 0


def test_circuit_opens_when_most_accounts_do_not_answer() -> None:
    accounts = connect(10)
    fail(*accounts[:4])
    assert host_circuit_breaker.open_hosts() == frozenset()
    fail(accounts[4])
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}
    assert kinds() == ["host.down"]
    event = Event.objects.get()
    assert (event.user_id, event.payload["failing"], event.payload["contacted"]) == (None, 5, 10)
    fail(*accounts)
    assert kinds().count("host.down") == 1


def test_few_failures_among_many_do_not_open_circuit() -> None:
    accounts = connect(12)
    fail(*accounts[:5])
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_one_tenants_wrong_settings_do_not_open_circuit() -> None:
    """The host is shared, though no other account was contacted in these 30 seconds."""
    others = connect(4)
    age(31)
    fail(*connect(6, owner=make.user()))
    assert host_circuit_breaker.open_hosts() == frozenset()
    services.mark_used([row.pk for row in others])
    fail(others[0])
    assert host_circuit_breaker.open_hosts() == frozenset(), "two of five tenants"
    fail(others[1])
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}


def test_sole_user_of_host_may_open_circuit() -> None:
    mine = connect(5, owner=make.user())
    connect(1, archived_at=timezone.now())
    connect(1, exchange_name="Binance")
    fail(*mine)
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}


def test_each_operator_account_has_a_vote() -> None:
    connect(1)
    age(31)
    fail(*connect(5, admin=make.user()))
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}


def test_one_failing_account_does_not_open_circuit() -> None:
    (row,) = connect()
    for _ in range(10):
        fail(row)
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_refused_logins_do_not_open_circuit() -> None:
    accounts = connect(6)
    services.mark_errors([(row.pk, "Refused.") for row in accounts])
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_old_failures_do_not_count() -> None:
    accounts = connect(6)
    fail(*accounts[:4])
    age(31)
    fail(accounts[4])
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_other_host_is_not_affected() -> None:
    fail(*connect(5))
    connect(5, exchange_name="Binance")
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}


def test_probe_answer_closes_circuit(broker: Broker) -> None:
    accounts = connect(6)
    for _ in range(5):
        fail(*accounts)  # all of them back off by now
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probes.retry_failed(adapter=broker) == (0, 0)
    age(5.1)
    assert selectors.accounts_due(100, older_than_seconds=0) == []  # the host is not polled
    assert probes.retry_failed(adapter=broker) == (0, 1)
    assert probes.retry_failed(adapter=broker) == (0, 0)  # the next probe is not due
    age(5.1)
    broker.state = account()
    assert probes.retry_failed(adapter=broker) == (6, 0)  # the probe, then all of its neighbours
    assert host_circuit_breaker.open_hosts() == frozenset()
    assert kinds()[-7:] == ["host.up", *["connection.recovered"] * 6]
    assert {status(row) for row in accounts} == {"ACTIVE"}  # the others no longer back off


def test_answer_to_older_call_does_not_close_circuit() -> None:
    accounts = connect(6)
    fail(*accounts[:5])
    services.mark_active([accounts[5].pk])
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}
    age(1.1)
    services.mark_active([accounts[5].pk])
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_repeatedly_failing_host_is_probed_less_often() -> None:
    accounts = connect(5)
    for seconds in (5, 10, 15, 15):
        fail(*accounts)
        age(6)
        before = timezone.now()
        host_circuit_breaker.claim_probes()
        probe_at = HostCircuit.objects.get().probe_at
        assert probe_at is not None
        assert before <= probe_at - timedelta(seconds=seconds) <= timezone.now()
        services.mark_active([row.pk for row in accounts])
        services.mark_used([row.pk for row in accounts])
    age(600)
    fail(*accounts)
    assert HostCircuit.objects.get().times == 1


def test_large_host_recovers_in_one_run(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MAX_CONCURRENT", 4)
    accounts = connect(18)
    for _ in range(5):
        fail(*accounts)
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (18, 0)
    assert len(broker.asked) == len({spec.connection_id for spec in broker.asked}) == 18
    assert {status(row) for row in accounts} == {"ACTIVE"}


def test_refusing_host_is_not_down(broker: Broker) -> None:
    accounts = connect(5)
    fail(*accounts)
    fail(*accounts)
    assert HostCircuit.objects.filter(opened_at__isnull=False).exists()
    age(5.1)
    broker.state = ReadFailed(Code.TRADING_DISABLED)
    probes.retry_failed(adapter=broker)
    assert not HostCircuit.objects.filter(opened_at__isnull=False).exists()
    assert probes.retry_failed(adapter=broker) == (0, 0), "refused accounts are not unreachable"


def test_run_queries_each_account_once_and_ends(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "MAX_CONCURRENT", 2)
    monkeypatch.setattr(probes, "RETRY_SECONDS", 0)
    fail(*connect(4))
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probes.retry_failed(adapter=broker) == (0, 4)
    age(1)
    monkeypatch.setattr(probes, "MAX_RUN_SECONDS", 0)
    assert probes.retry_failed(adapter=broker) == (0, 2)


def test_probe_queries_each_account_once_per_run(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = host_circuit_breaker.claim_probes

    def due(asked: set[UUID]) -> list[str]:
        HostCircuit.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        return take(asked)

    monkeypatch.setattr(host_circuit_breaker, "claim_probes", due)
    monkeypatch.setattr(probes, "MAX_RUN_SECONDS", 30)
    fail(*connect(6))
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probes.retry_failed(adapter=broker) == (0, 6)
    assert len({spec.connection_id for spec in broker.asked}) == len(broker.asked) == 6
    probe_at = HostCircuit.objects.get().probe_at
    assert probe_at is not None
    assert probe_at < timezone.now()  # no account was left to query: the next poll does it


def test_circuit_whose_accounts_all_answered_as_it_opened_is_probed(broker: Broker) -> None:
    """Their answers were to calls of before, so that they closed nothing."""
    accounts = connect(6)
    fail(*accounts)
    services.mark_active([row.pk for row in accounts])
    assert host_circuit_breaker.open_hosts() == {"paper:kraken"}
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (1, 0)
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_account_that_stays_unreachable_is_not_the_only_probe(broker: Broker) -> None:
    accounts = connect(6)
    fail(*accounts)
    services.mark_active([row.pk for row in accounts[1:]])
    age(5.1)
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probes.retry_failed(adapter=broker) == (0, 1)
    asked = {spec.connection_id for spec in broker.asked}
    age(15.1)
    broker.state = account()
    assert probes.retry_failed(adapter=broker)[0] > 0
    assert broker.asked[1].connection_id not in asked
    assert host_circuit_breaker.open_hosts() == frozenset()


def test_account_whose_login_is_refused_is_no_probe_before_its_time(broker: Broker) -> None:
    accounts = connect(6)
    fail(*accounts)
    services.mark_errors([(row.pk, "Refused.") for row in accounts])
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (0, 0)
    ConnectionHealth.objects.update(read_after=timezone.now())
    assert probes.retry_failed(adapter=broker)[0] > 0
    assert host_circuit_breaker.open_hosts() == frozenset()


@pytest.mark.parametrize("change", [{"archived_at": timezone.now()}, {"is_active": False}])
def test_circuit_of_a_host_without_accounts_closes(broker: Broker, change: dict[str, Any]) -> None:
    accounts = connect(6)
    fail(*accounts)
    ExecutionConnection.objects.update(**change)
    age(5.1)
    assert probes.retry_failed(adapter=broker) == (0, 0)
    assert host_circuit_breaker.open_hosts() == frozenset()
    assert kinds() == ["host.down"]
