"""A lost answer is no error yet; a host that most accounts cannot reach is one trouble."""

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from brokers.base import ReadFailed
from common.codes import Code
from connections import health, host_circuits, polling, probing, selectors, services, testing
from connections.models import ConnectionHealth, ExecutionConnection, HostCircuit
from events.models import Event
from tests.connections import make
from tests.connections.doubles import Broker, account

pytestmark = pytest.mark.django_db


@pytest.fixture
def broker() -> Broker:
    return Broker()


def connect(many: int = 1, **fields: Any) -> list[ExecutionConnection]:
    """Accounts at one host that were spoken to just now."""
    usual: dict[str, Any] = {"sealed_credentials": None, "exchange_name": "Kraken"}
    made = [make.connection(**{**usual, **fields}) for _ in range(many)]
    services.mark_used([row.pk for row in made])
    return made


def fail(*accounts: ExecutionConnection) -> None:
    services.mark_failures([(row.pk, "No answer.") for row in accounts])


def age(seconds: float) -> None:
    """What was noted was noted so long ago."""
    past = timedelta(seconds=seconds)
    for model, names in (
        (ConnectionHealth, ("last_error_at", "failing_since", "unreachable_at", "last_used_at",
                            "read_after", "last_connected_at", "circuit_open_until")),
        (HostCircuit, ("opened_at", "probe_at", "closed_at")),
    ):  # fmt: skip
        for row in model.objects.all():
            for name in names:
                if (value := getattr(row, name)) is not None:
                    setattr(row, name, value - past)
            row.save()


def kinds() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def status(of: ExecutionConnection) -> str:
    return ConnectionHealth.objects.get(pk=of.pk).status


# ---- one lost answer ----
def test_one_lost_answer_takes_no_account_out_of_the_next_signal() -> None:
    (row,) = connect()
    fail(row)
    assert row.can_execute_trades()
    assert kinds() == []
    noted = ConnectionHealth.objects.get(pk=row.pk)
    assert (noted.last_error, noted.failures_in_a_row) == ("No answer.", 1)


def test_three_in_a_row_are_an_error() -> None:
    (row,) = connect()
    fail(row)
    fail(row)
    assert status(row) == "ACTIVE"
    fail(row)
    assert (status(row), kinds()) == ("ERROR", ["connection.error"])
    assert ConnectionHealth.objects.get(pk=row.pk).reconciled_at is None


def test_the_second_after_half_a_minute_is_an_error() -> None:
    (row,) = connect()
    fail(row)
    age(31)
    fail(row)
    assert status(row) == "ERROR"


def test_an_answer_in_between_begins_anew() -> None:
    (row,) = connect()
    for _ in range(4):
        fail(row)
        fail(row)
        services.mark_active([row.pk])
    assert (status(row), kinds()) == ("ACTIVE", [])


def test_a_refused_login_is_an_error_at_once(broker: Broker) -> None:
    (row,) = connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    age(60)
    assert probing.look_again(adapter=broker) == (0, 0), "brokers lock who tries too often"


def test_a_refused_login_is_tried_by_itself_after_half_an_hour_and_then_ever_later(
    broker: Broker,
) -> None:
    connect()
    broker.state = ReadFailed(Code.CREDENTIALS_REFUSED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waited = []
    for minutes in range(10, 300, 10):
        age(600)
        if polling.refresh_due_accounts(adapter=broker) == (0, 1):
            waited.append(minutes)
    assert (waited[0], len(waited) in (3, 4)) == (30, True), waited
    assert all(later >= 2 * earlier - 10 for earlier, later in pairwise(waited)), waited
    assert probing.look_again(adapter=broker) == (0, 0)
    broker.state = account()
    age(health.RAREST_SECONDS)
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_an_account_that_may_not_trade_for_a_while_is_read_each_round(broker: Broker) -> None:
    """Its login is well: a broker that closes for the night locks nobody."""
    (row,) = connect()
    broker.state = ReadFailed(Code.TRADING_DISABLED)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 1)
    waits = []
    for _ in range(9):
        waited = 0
        while polling.refresh_due_accounts(adapter=broker) == (0, 0):
            age(5)
            waited += 5
        waits.append(waited)
    assert (status(row), set(waits)) == ("ERROR", {45})
    assert probing.look_again(adapter=broker) == (0, 0)
    broker.state = account()
    age(60)
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_an_order_refused_because_trading_is_disabled_waits_as_long(broker: Broker) -> None:
    (row,) = connect()
    health.mark_errors([(row.pk, "No trading.")], again=health.again_of(Code.TRADING_DISABLED))
    age(40)
    assert polling.refresh_due_accounts(adapter=broker) == (0, 0)
    age(5)
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)


def test_an_error_of_which_nothing_else_is_known_is_read_at_once(broker: Broker) -> None:
    """As it was written before a row said when, or by hand."""
    (row,) = connect()
    ConnectionHealth.objects.update(
        status="ERROR", last_error_at=timezone.now(), failing_since=None
    )
    assert polling.refresh_due_accounts(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_a_failure_of_our_own_in_a_test_is_looked_at_again_at_once(broker: Broker) -> None:
    (row,) = connect()
    broker.checks = KeyError("ours")
    (check,) = testing.run_test(row.pk, adapter=broker)
    assert (check.name, status(row)) == ("program", "ERROR")
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


def test_who_does_not_answer_is_looked_at_again_and_not_read_besides(broker: Broker) -> None:
    doubted, away = connect(2)
    fail(doubted, away)
    for _ in range(3):
        fail(away)
    age(3600)
    assert (status(doubted), status(away)) == ("ACTIVE", "ERROR")
    assert polling.refresh_due_accounts(adapter=broker) == (0, 0)
    assert probing.look_again(adapter=broker) == (2, 0)


def test_a_test_that_no_broker_answered_is_an_error_that_is_looked_at_again(
    broker: Broker,
) -> None:
    """Its owner pressed the button while the broker was away: half an hour is not for him."""
    for failure in (TimeoutError(), OSError(), ReadFailed(Code.BROKER_UNREACHABLE)):
        (row,) = connect()
        broker.checks = failure
        testing.run_test(row.pk, adapter=broker)
        assert status(row) == "ERROR"
        age(6)
        assert probing.look_again(adapter=broker) == (1, 0)
        assert status(row) == "ACTIVE"
    broker.checks = ReadFailed(Code.CREDENTIALS_REFUSED)
    testing.run_test(row.pk, adapter=broker)
    age(6)
    assert probing.look_again(adapter=broker) == (0, 0)


def test_new_credentials_are_tested_not_looked_at_again(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    services.set_credentials(row.pk, by=row.user, values={"password": "another"})
    age(60)
    assert probing.look_again(adapter=broker) == (0, 0)
    assert (status(row), selectors.due_tests(5)) == ("UNTESTED", [row.pk])
    testing.run_test(row.pk, adapter=broker)
    assert status(row) == "ACTIVE"


def test_a_refused_account_is_well_at_once_when_its_test_passes(broker: Broker) -> None:
    (row,) = connect()
    services.mark_errors([(row.pk, "Refused.")])
    services.request_test(row.pk, by=row.user)
    assert selectors.due_tests(5) == [row.pk]
    testing.run_test(row.pk, adapter=broker)
    assert (status(row), selectors.due_tests(5)) == ("ACTIVE", [])


def test_an_account_that_was_never_well_is_not_spared() -> None:
    row = make.connection(health_status="UNTESTED", health_reconciled_at=None)
    fail(row)
    assert status(row) == "ERROR"


def test_an_account_in_doubt_is_read_again_within_seconds(broker: Broker) -> None:
    (row,) = connect()
    fail(row)
    broker.state = account()
    assert probing.look_again(adapter=broker) == (0, 0)  # not at once
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert ConnectionHealth.objects.get(pk=row.pk).failures_in_a_row == 0
    fail(row)
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    for _ in range(2):
        age(5.1)
        assert probing.look_again(adapter=broker) == (0, 1)
    assert status(row) == "ERROR"
    broker.state = account()
    age(5.1)
    assert probing.look_again(adapter=broker) == (1, 0)
    assert status(row) == "ACTIVE"


# ---- hosts ----
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
def test_what_a_host_is(fields: dict[str, Any], host: str) -> None:
    row = make.connection(**fields)
    row.refresh_from_db()
    assert row.broker_host == host
    assert len(make.connection(settings={"host": "x" * 500}).name) > 0


def test_it_opens_when_enough_and_most_do_not_answer() -> None:
    accounts = connect(10)
    fail(*accounts[:4])
    assert host_circuits.open_hosts() == frozenset()
    fail(accounts[4])
    assert host_circuits.open_hosts() == {"paper:kraken"}
    assert kinds() == ["host.away"]
    told = Event.objects.get()
    assert (told.user_id, told.payload["failing"], told.payload["spoken_to"]) == (None, 5, 10)
    fail(*accounts)
    assert kinds().count("host.away") == 1


def test_a_few_of_many_open_nothing() -> None:
    accounts = connect(12)
    fail(*accounts[:5])
    assert host_circuits.open_hosts() == frozenset()


def test_what_one_tenant_entered_wrong_in_all_of_his_accounts_opens_nothing_for_others() -> None:
    """The host is shared, though nobody else was spoken to in this half minute."""
    others = connect(4)
    age(31)
    fail(*connect(6, owner=make.user()))
    assert host_circuits.open_hosts() == frozenset()
    services.mark_used([row.pk for row in others])
    fail(others[0])
    assert host_circuits.open_hosts() == frozenset(), "two of five tenants"
    fail(others[1])
    assert host_circuits.open_hosts() == {"paper:kraken"}


def test_who_has_all_accounts_of_a_host_may_open_it() -> None:
    mine = connect(5, owner=make.user())
    connect(1, archived_at=timezone.now())
    connect(1, exchange_name="Binance")
    fail(*mine)
    assert host_circuits.open_hosts() == {"paper:kraken"}


def test_operators_accounts_have_a_voice_each() -> None:
    connect(1)
    age(31)
    fail(*connect(5, admin=make.user()))
    assert host_circuits.open_hosts() == {"paper:kraken"}


def test_one_account_that_fails_often_opens_nothing() -> None:
    (row,) = connect()
    for _ in range(10):
        fail(row)
    assert host_circuits.open_hosts() == frozenset()


def test_refused_logins_open_nothing() -> None:
    accounts = connect(6)
    services.mark_errors([(row.pk, "Refused.") for row in accounts])
    assert host_circuits.open_hosts() == frozenset()


def test_what_failed_long_ago_does_not_count() -> None:
    accounts = connect(6)
    fail(*accounts[:4])
    age(31)
    fail(accounts[4])
    assert host_circuits.open_hosts() == frozenset()


def test_another_host_is_not_concerned() -> None:
    fail(*connect(5))
    connect(5, exchange_name="Binance")
    assert host_circuits.open_hosts() == {"paper:kraken"}


def test_one_account_is_read_as_a_probe_and_its_answer_closes_it(broker: Broker) -> None:
    accounts = connect(6)
    for _ in range(5):
        fail(*accounts)  # all of them rest by now
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probing.look_again(adapter=broker) == (0, 0)
    age(5.1)
    assert selectors.accounts_due(100, older_than_seconds=0) == []  # nobody reads them all
    assert probing.look_again(adapter=broker) == (0, 1)
    assert probing.look_again(adapter=broker) == (0, 0)  # the next probe is not due
    age(5.1)
    broker.state = account()
    assert probing.look_again(adapter=broker) == (6, 0)  # the probe, then all of its neighbours
    assert host_circuits.open_hosts() == frozenset()
    assert kinds()[-7:] == ["host.back", *["connection.recovered"] * 6]
    assert {status(row) for row in accounts} == {"ACTIVE"}  # the others rest no longer


def test_an_answer_to_an_older_call_does_not_close_it() -> None:
    accounts = connect(6)
    fail(*accounts[:5])
    services.mark_active([accounts[5].pk])
    assert host_circuits.open_hosts() == {"paper:kraken"}
    age(1.1)
    services.mark_active([accounts[5].pk])
    assert host_circuits.open_hosts() == frozenset()


def test_a_host_that_opens_again_and_again_is_probed_less_often() -> None:
    accounts = connect(5)
    waits = []
    for _ in range(6):
        fail(*accounts)
        age(6)
        host_circuits.take_probes()
        probe_at = HostCircuit.objects.get().probe_at
        assert probe_at is not None
        waits.append(round((probe_at - timezone.now()).total_seconds()))
        services.mark_active([row.pk for row in accounts])
        services.mark_used([row.pk for row in accounts])
    assert waits == [5, 10, 20, 40, 60, 60]
    age(600)
    fail(*accounts)
    assert HostCircuit.objects.get().times == 1


def test_a_host_of_hundreds_is_back_in_one_look(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "AT_ONCE", 4)
    accounts = connect(18)
    for _ in range(5):
        fail(*accounts)
    age(5.1)
    assert probing.look_again(adapter=broker) == (18, 0)
    assert len(broker.asked) == len({spec.connection_id for spec in broker.asked}) == 18
    assert {status(row) for row in accounts} == {"ACTIVE"}


def test_a_host_that_refuses_is_not_away(broker: Broker) -> None:
    accounts = connect(5)
    fail(*accounts)
    fail(*accounts)
    assert HostCircuit.objects.filter(opened_at__isnull=False).exists()
    age(5.1)
    broker.state = ReadFailed(Code.TRADING_DISABLED)
    probing.look_again(adapter=broker)
    assert not HostCircuit.objects.filter(opened_at__isnull=False).exists()
    assert probing.look_again(adapter=broker) == (0, 0), "refused accounts are no silent ones"


def test_one_look_asks_nobody_twice_and_ends(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "AT_ONCE", 2)
    monkeypatch.setattr(probing, "AGAIN_SECONDS", 0)
    fail(*connect(4))
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probing.look_again(adapter=broker) == (0, 4)
    age(1)
    monkeypatch.setattr(probing, "GO_ON_SECONDS", 0)
    assert probing.look_again(adapter=broker) == (0, 2)


def test_a_probe_asks_nobody_twice_in_one_look_and_is_not_wasted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = host_circuits.take_probes

    def due(asked: set[UUID]) -> list[str]:
        HostCircuit.objects.update(probe_at=timezone.now() - timedelta(seconds=1))
        return take(asked)

    monkeypatch.setattr(host_circuits, "take_probes", due)
    monkeypatch.setattr(probing, "GO_ON_SECONDS", 3)
    fail(*connect(6))
    broker.state = ReadFailed(Code.BROKER_UNREACHABLE)
    assert probing.look_again(adapter=broker) == (0, 6)
    assert len({spec.connection_id for spec in broker.asked}) == len(broker.asked) == 6
    probe_at = HostCircuit.objects.get().probe_at
    assert probe_at is not None
    assert probe_at < timezone.now()  # there was nobody left to ask: the next look does
