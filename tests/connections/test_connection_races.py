"""Two processes, or a process and a person, act on one account or lane at the same time."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from alerts.models import TelegramBot
from alerts.telegram.services import set_bot
from alerts.telegram.tokens import open_token
from brokers.types import BrokerCashFlow, BrokerFunding
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.accounts.cash_flows import store_cash_flows
from connections.accounts.funding import FundingRead, store_funding, unbooked_funding
from connections.accounts.ownership import claim_account
from connections.credentials import provider_secrets
from connections.credentials.key_rotation import reseal_all
from connections.health import host_circuit_breaker, inactivity
from connections.leases import release_leases, renew_leases, take_leases
from connections.models import (
    CashFlow,
    ConnectionHealth,
    DecisionProvider,
    ExecutionConnection,
    FundingPayment,
    LaneLease,
)
from events import webhook_services, webhooks
from events.models import Channel, Event, EventKind
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.connections.failing import connect
from tests.connections.fake_brokers import account

pytestmark = pytest.mark.django_db(transaction=True)
CONFLICT = "STATE_CONFLICT"
KEY = new_private_key()


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Secrets can be sealed, and a session waits for as long as the test."""
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (KEY,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(KEY)
    limits(lock_timeout=60_000)


def _events(kind: EventKind) -> int:
    return Event.objects.filter(kind=kind).count()


def claim_of_one_account_by_two() -> Race:
    rows = [make.connection(type="paper", account="7", settings={}) for _ in range(2)]

    def claim(row: ExecutionConnection) -> bool:
        with transaction.atomic():
            return claim_account(row, account())

    def left() -> list[bool]:
        return [bool(ExecutionConnection.objects.get(pk=row.pk).claim) for row in rows]

    return Race(
        lambda: claim(rows[0]), lambda: claim(rows[1]), ("True", CONFLICT), left, [True, False]
    )


def claim_by_a_test_of_what_is_being_changed() -> Race:
    """What was tested is no longer what is stored, so the test proves nothing."""
    row = make.connection(type="paper", account="7", settings={})

    def edit() -> int:
        mine = ExecutionConnection.objects.filter(pk=row.pk)
        return mine.update(credentials_changed_at=datetime.now(UTC))

    def claim() -> bool:
        with transaction.atomic():
            return claim_account(row, account())

    def left() -> tuple[str, bool]:
        health = ConnectionHealth.objects.get(pk=row.pk)
        stored = ExecutionConnection.objects.get(pk=row.pk).claim
        return stored, health.test_requested_at is not None

    return Race(edit, claim, ("1", "False"), left, ("", True))


def one_lane_of_two_processes() -> Race:
    def take(owner: str) -> dict[str, int]:
        return take_leases(["sessions.1"], owner=owner, seconds=60)

    def left() -> str:
        return LaneLease.objects.get().owner

    return Race(
        lambda: take("one"), lambda: take("other"), ("{'sessions.1': 1}", "{}"), left, "one"
    )


def _taken_over() -> None:
    """One owner, as a process that stood still: its second lease follows its first."""
    for _ in range(2):
        take_leases(["sessions.1"], owner="one", seconds=60)
        LaneLease.objects.update(until=datetime.now(UTC) - timedelta(seconds=1))
    take_leases(["sessions.1"], owner="one", seconds=60)


def renewal_of_a_lease_that_was_taken_over() -> Race:
    _taken_over()

    def renew(fence: int) -> int:
        return len(renew_leases([("sessions.1", fence)], owner="one", seconds=60))

    return Race(lambda: renew(1), lambda: renew(3), ("0", "1"))


def release_of_a_lease_that_was_taken_over() -> Race:
    _taken_over()

    def release(fence: int) -> None:
        release_leases([("sessions.1", fence)], owner="one")

    def left() -> str:
        return LaneLease.objects.get().owner

    return Race(lambda: release(1), lambda: release(2), ("done", "done"), left, "one")


def one_deposit_that_is_reported_twice() -> Race:
    row = make.connection()
    now = datetime.now(UTC)
    flow = BrokerCashFlow("D-1", D(100), now)

    def store() -> int:
        return store_cash_flows([(row.pk, now, flow)])

    return Race(store, store, ("1", "0"), CashFlow.objects.count, 1)


def one_deposit_that_was_entered_by_hand() -> Race:
    row = make.connection()
    now = datetime.now(UTC)
    services.record_cash_flow(row.pk, amount=D(100), by=None, at=now)

    def store() -> int:
        return store_cash_flows([(row.pk, now, BrokerCashFlow("D-1", D(100), now))])

    return Race(store, store, ("0", "0"), CashFlow.objects.count, 1)


def _funding() -> Callable[[], int]:
    row = make.connection()
    now = datetime.now(UTC)
    payment = BrokerFunding("F-1", "BTCUSDT", D(-1), "USDT", now, D(1))
    read = FundingRead((payment,), timedelta(0))
    return lambda: store_funding([(row.pk, now, read)])


def one_funding_payment_that_is_read_twice() -> Race:
    store = _funding()
    return Race(store, store, ("1", "0"), FundingPayment.objects.count, 1)


def one_funding_payment_for_two_bookers() -> Race:
    _funding()()

    def find() -> int:
        with transaction.atomic():
            return len(unbooked_funding(older_than_seconds=-1, limit=10))

    return Race(find, find, ("1", "0"))


def _reseal() -> None:
    new = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (new, KEY)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(new)
    list(reseal_all())


def new_secret_during_a_rotation_of_keys() -> Race:
    channel, old = webhook_services.create_webhook(
        user_id=make.user().pk, name="bot", url="https://example.com/"
    )

    def left() -> tuple[int, bool]:
        secrets = webhooks.secrets_of(Channel.objects.get(pk=channel.pk), now=datetime.now(UTC))
        return len(secrets), secrets[-1] == old

    return Race(
        lambda: bool(webhook_services.rotate_secret(channel.pk)), _reseal, ("True", "done"), left,
        (2, True),
    )  # fmt: skip


def new_password_during_a_rotation_of_keys() -> Race:
    row = make.connection(sealed_credentials=None)
    row.set_credentials({"password": "old"})

    def left() -> dict[str, str]:
        return ExecutionConnection.objects.get(pk=row.pk).open_credentials()

    return Race(
        lambda: row.set_credentials({"password": "new"}), _reseal, ("done", "done"), left,
        {"password": "new"},
    )  # fmt: skip


def new_secret_of_a_decision_provider_during_a_rotation_of_keys() -> Race:
    owner = make.user()
    provider = DecisionProvider(name="rules", user=owner)
    provider.secret_sealed = provider_secrets.seal_secret("an older secret!", provider)
    provider.save()

    def left() -> bytes:
        return provider_secrets.open_secret(DecisionProvider.objects.get())

    def change() -> None:
        services.change_decision_provider(provider.pk, secret="the newer secret", by=None)

    return Race(change, _reseal, ("done", "done"), left, b"the newer secret")


def new_token_of_a_bot_during_a_rotation_of_keys() -> Race:
    feed = make.feed()
    token = "123456:" + "a" * 35
    set_bot(feed, token, by=None)

    def left() -> str:
        return open_token(TelegramBot.objects.get())

    newer = token[:-1] + "b"
    return Race(lambda: bool(set_bot(feed, newer, by=None)), _reseal, ("True", "done"), left, newer)


def one_outage_that_two_processes_see() -> Race:
    ids = [row.pk for row in connect(5)]
    services.mark_errors([])
    ConnectionHealth.objects.update(unreachable_at=datetime.now(UTC))

    def see() -> int:
        return host_circuit_breaker.open_failing_circuits(ids)

    return Race(see, see, ("1", "0"), lambda: _events(EventKind.HOST_DOWN), 1)


def one_account_that_two_processes_find_inactive() -> Race:
    row = make.connection()
    ConnectionHealth.objects.filter(pk=row.pk).update(
        last_connected_at=datetime.now(UTC) - timedelta(days=1)
    )

    def alert() -> int:
        return inactivity.alert_inactive(awake_seconds=1e6)

    return Race(alert, alert, ("1", "0"), lambda: _events(EventKind.CONNECTION_INACTIVE), 1)


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        claim_of_one_account_by_two,
        claim_by_a_test_of_what_is_being_changed,
        one_lane_of_two_processes,
        renewal_of_a_lease_that_was_taken_over,
        release_of_a_lease_that_was_taken_over,
        one_deposit_that_is_reported_twice,
        one_deposit_that_was_entered_by_hand,
        one_funding_payment_that_is_read_twice,
        one_funding_payment_for_two_bookers,
        new_secret_during_a_rotation_of_keys,
        new_password_during_a_rotation_of_keys,
        new_secret_of_a_decision_provider_during_a_rotation_of_keys,
        new_token_of_a_bot_during_a_rotation_of_keys,
        one_outage_that_two_processes_see,
        one_account_that_two_processes_find_inactive,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_act_on_an_account_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
