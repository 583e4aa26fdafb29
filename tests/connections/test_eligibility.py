"""The SQL that decides who is a candidate, and why one may not trade now."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import combinations, product

import pytest
from django.db import transaction
from django.utils import timezone

from brokers import registry
from common.clocks import market_now
from common.db.sql import rows
from common.reason_codes import Code
from connections import eligibility
from connections.models import ConnectionHealth, ExecutionConnection, Instrument, Subscription
from signals.models import Feed
from tests.connections import make

pytestmark = pytest.mark.django_db
Spoil = Callable[[ExecutionConnection, Subscription], object]


@pytest.fixture(autouse=True)
def _paper_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eligibility, "needs_credentials", lambda kind: kind == "paper")


def connection_set(**fields: object) -> Spoil:
    return lambda c, s: ExecutionConnection.objects.filter(pk=c.pk).update(**fields)


def health_set(**fields: object) -> Spoil:
    return lambda c, s: ConnectionHealth.objects.filter(pk=c.pk).update(**fields)


def subscription_set(**fields: object) -> Spoil:
    return lambda c, s: Subscription.objects.filter(pk=s.pk).update(**fields)


# In the order that the module promises: if two apply, the first one is returned.
REASONS: list[tuple[Code, Spoil]] = [
    (Code.TRADING_HALTED, lambda c, s: make.kill_switch("HALTED", scope="ALL")),
    (Code.ENTRIES_HALTED, lambda c, s: make.kill_switch("REDUCING", scope="ALL")),
    (Code.CONNECTION_INACTIVE, connection_set(is_active=False)),
    (Code.CONNECTION_PAUSED, connection_set(is_paused=True)),
    (Code.SUBSCRIPTION_PAUSED, subscription_set(is_paused=True)),
    (Code.SUBSCRIPTION_EXPIRED, lambda c, s: subscription_set(expires_at=market_now())(c, s)),
    (Code.DIRECTION_EXCLUDED, subscription_set(directions="SELL")),
    (Code.NO_CREDENTIALS, connection_set(sealed_credentials=None)),
    (Code.NO_PRESET, connection_set(preset=None)),
    (Code.NO_DATA_CONNECTION, connection_set(data_connection=None)),
    (
        Code.CONNECTION_TEST_PENDING,
        lambda c, s: health_set(status="UNTESTED", test_requested_at=timezone.now())(c, s),
    ),
    (Code.CONNECTION_UNTESTED, health_set(status="UNTESTED")),
    (Code.CONNECTION_ERROR, health_set(status="ERROR", unreachable_at=None)),
    (
        Code.CONNECTION_UNREACHABLE,
        lambda c, s: health_set(status="ERROR", unreachable_at=timezone.now())(c, s),
    ),
    (
        Code.CIRCUIT_OPEN,
        lambda c, s: health_set(circuit_open_until=timezone.now() + timedelta(minutes=1))(c, s),
    ),
    (Code.CONNECTION_NOT_RECONCILED, health_set(reconciled_at=None)),
]


ONE_COLUMN = {
    Code.CONNECTION_TEST_PENDING, Code.CONNECTION_UNTESTED, Code.CONNECTION_ERROR,
    Code.CONNECTION_UNREACHABLE,
}  # fmt: skip


def reason(row: ExecutionConnection, feed: Feed, direction: str = "BUY") -> Code | None:
    return eligibility.reason_for(connection_id=row.pk, feed_id=feed.pk, direction=direction)


@pytest.fixture
def feed() -> Feed:
    return make.feed()


@pytest.fixture
def subscribed(feed: Feed) -> ExecutionConnection:
    row = make.connection()
    make.subscription(row, feed)
    return row


def test_a_healthy_subscribed_connection_may_trade(
    subscribed: ExecutionConnection, feed: Feed
) -> None:
    assert reason(subscribed, feed) is None


@pytest.mark.parametrize(("code", "spoil"), REASONS, ids=[code for code, _ in REASONS])
def test_each_reason_is_returned(
    subscribed: ExecutionConnection, feed: Feed, code: Code, spoil: Spoil
) -> None:
    spoil(subscribed, Subscription.objects.get())
    assert reason(subscribed, feed) is code


def test_first_of_two_reasons_is_returned(subscribed: ExecutionConnection, feed: Feed) -> None:
    subscription = Subscription.objects.get()
    for (first, spoil), (second, spoil_too) in combinations(REASONS, 2):
        if {first, second} <= ONE_COLUMN:
            continue  # it cannot say two of them
        savepoint = transaction.savepoint()
        spoil_too(subscribed, subscription)
        spoil(subscribed, subscription)
        assert reason(subscribed, feed) is first, f"{first} before {second}"
        transaction.savepoint_rollback(savepoint)


SCOPES = ("ALL", "FEED", "USER", "CONNECTION", "BROKER_TYPE")


@pytest.mark.parametrize(("scope", "mode"), list(product(SCOPES, ("HALTED", "REDUCING"))))
def test_kill_switch_halts_only_its_scope_until_released(
    subscribed: ExecutionConnection, feed: Feed, scope: str, mode: str
) -> None:
    named: dict[str, dict[str, object]] = {
        "ALL": {},
        "FEED": {"feed": feed},
        "USER": {"user": subscribed.user},
        "CONNECTION": {"connection": subscribed},
        "BROKER_TYPE": {"broker_type": subscribed.type},
    }
    switch = make.kill_switch(mode, scope=scope, **named[scope])
    bystander = make.connection(type="elsewhere")
    elsewhere = make.feed()
    make.subscription(bystander, elsewhere)
    halted = Code.TRADING_HALTED if mode == "HALTED" else Code.ENTRIES_HALTED
    assert reason(subscribed, feed) is halted
    assert reason(bystander, elsewhere) is (halted if scope == "ALL" else None)
    switch.released_at = timezone.now()
    switch.save()
    assert reason(subscribed, feed) is None


def test_kill_switch_of_a_symbol_halts_its_signals_and_what_is_mapped_to_it(
    subscribed: ExecutionConnection, feed: Feed
) -> None:
    def reasons(pair: str) -> set[str | None]:
        sql = f"SELECT {eligibility.REASON_SQL} AS reason FROM {eligibility.CANDIDATES_SQL}"
        given = eligibility.eligibility_parameters(feed_id=feed.pk, direction="BUY", pair=pair)
        return {row.reason for row in rows(sql, given)}

    make.kill_switch("REDUCING", scope="SYMBOL", pair="EUR/USD")
    assert reasons("EUR/USD") == {"ENTRIES_HALTED"}
    assert "ENTRIES_HALTED" not in reasons("GBP/USD")
    make.kill_switch("HALTED", scope="SYMBOL", pair="GER40/EUR")
    assert "TRADING_HALTED" not in reasons("DAX/EUR")
    ExecutionConnection.objects.filter(pk=subscribed.pk).update(instrument_book="b")
    Instrument.objects.create(
        book="b", symbol="GER40.cash", pair="GER40/EUR", digits=1, pip=Decimal(1),
        quantity_min=Decimal(1), quantity_step=Decimal(1), quantity_max=Decimal(9),
        contract_size=Decimal(1), read_at=timezone.now(),
    )  # fmt: skip
    Subscription.objects.filter(connection=subscribed).update(symbol_map={"DAX/EUR": "GER40.cash"})
    assert reasons("DAX/EUR") == {"TRADING_HALTED"}


def test_tenant_kill_switch_halts_administrators_own_account() -> None:
    admin = make.user(is_staff=True)
    own = make.connection(admin=admin)
    make.kill_switch("HALTED", scope="USER", user=admin)
    assert eligibility.reason_for(connection_id=own.pk) is Code.TRADING_HALTED


@pytest.mark.parametrize(
    ("directions", "direction", "expected"),
    [
        ("BOTH", "BUY", None),
        ("BOTH", "SELL", None),
        ("BUY", "BUY", None),
        ("BUY", "SELL", Code.DIRECTION_EXCLUDED),
        ("SELL", "SELL", None),
    ],
)
def test_direction_filter_is_applied(
    subscribed: ExecutionConnection,
    feed: Feed,
    directions: str,
    direction: str,
    expected: Code | None,
) -> None:
    Subscription.objects.update(directions=directions)
    assert reason(subscribed, feed, direction) is expected


def test_broker_type_without_credentials_needs_none(
    subscribed: ExecutionConnection, feed: Feed
) -> None:
    ExecutionConnection.objects.update(type="mt4", sealed_credentials=None)
    assert reason(subscribed, feed) is None


def test_a_connection_without_a_health_row_is_untested(
    subscribed: ExecutionConnection, feed: Feed
) -> None:
    ConnectionHealth.objects.all().delete()
    assert reason(subscribed, feed) is Code.CONNECTION_UNTESTED


def test_formerly_open_circuit_is_no_reason(subscribed: ExecutionConnection, feed: Feed) -> None:
    ConnectionHealth.objects.update(circuit_open_until=timezone.now() - timedelta(seconds=1))
    assert reason(subscribed, feed) is None


def test_a_subscription_runs_until_its_end(subscribed: ExecutionConnection, feed: Feed) -> None:
    Subscription.objects.update(expires_at=market_now() + timedelta(minutes=1))
    assert reason(subscribed, feed) is None


def candidates(feed: Feed) -> dict[str, tuple[bool, str | None]]:
    """name → (has a subscription, reason)."""
    found = rows(
        f"SELECT c.name, s.id IS NOT NULL AS subscribed, {eligibility.REASON_SQL} AS reason "
        f"FROM {eligibility.CANDIDATES_SQL}",
        eligibility.eligibility_parameters(feed_id=feed.pk, direction="BUY"),
    )
    assert len(found) == len({row.name for row in found}), "a candidate stands there twice"
    return {row.name: (row.subscribed, row.reason) for row in found}


def test_candidates_are_live_subscriptions_and_live_admin_owned(feed: Feed) -> None:
    now = market_now()
    make.subscription(make.connection(name="subscribed"), feed)
    make.subscription(make.connection(name="paused", is_paused=True), feed)
    make.subscription(make.connection(name="left"), feed, archived_at=now)
    make.subscription(make.connection(name="elsewhere"), make.feed())
    make.connection(name="stranger")
    admin = make.user()
    make.connection(name="admin", admin=admin)
    make.subscription(make.connection(name="admin subscribed", admin=admin), feed)
    make.subscription(make.connection(name="admin left", admin=admin), feed, archived_at=now)
    make.connection(name="admin archived", admin=admin, archived_at=now)
    assert candidates(feed) == {
        "subscribed": (True, None),
        "paused": (True, Code.CONNECTION_PAUSED),
        "admin": (False, None),
        "admin subscribed": (True, None),
        "admin left": (False, None),
    }


def test_uninstalled_broker_type_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    def missing(kind: str, spec: object) -> None:
        raise ModuleNotFoundError(kind)

    monkeypatch.setattr(registry, "capabilities_of", missing)
    eligibility.needs_credentials.cache_clear()
    assert eligibility.needs_credentials("nowhere") is True
    eligibility.needs_credentials.cache_clear()


@pytest.mark.parametrize(
    "reason",
    [
        eligibility.REASON_SQL,
        eligibility.reason_sql(is_routed="coalesce(s.route_policy <> '', false)"),
    ],
    ids=["un-routed", "fan-out"],
)
def test_kill_switch_is_read_once_per_statement(feed: Feed, reason: str) -> None:
    explain = f"EXPLAIN (VERBOSE) SELECT {reason} FROM {eligibility.CANDIDATES_SQL}"
    parameters = eligibility.eligibility_parameters(
        feed_id=feed.pk, direction="BUY", pair="EUR/USD"
    )
    found = rows(explain, parameters)
    plan = "\n".join(line for (line,) in found)
    # Two modes of a halt, by connection, owner, broker type and mapped symbol; pauses of
    # connections and of subscriptions; and the lanes that a worker holds.
    assert len(set(re.findall(r"hashed SubPlan \d+", plan))) == 11, plan
    assert plan.count("InitPlan") >= 2, plan
    assert "EXISTS(SubPlan" not in plan, plan
