"""The preview of a publication predicts its outcome: the same rows, the same evaluation."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.registry import BUILT_IN, capabilities_of
from brokers.types import ConnectionSpec, OrderType
from common.clocks import market_now
from common.db.sql import rows, run
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.health import maintenance
from connections.health.host_circuit_breaker import open_hosts
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    Instrument,
    MaintenanceWindow,
    TradingPreset,
)
from execution.fan_out_sql import ENTRIES, INSERT_ENTRIES
from execution.models import Order
from execution.submission.claim import claim
from execution.submission.deferral import deferred_by_brokers
from positions.models import ExecutionPosition
from signals.models import Approval, Feed, Signal
from signals.publishing.preview import Outcome, Preview, preview, require_possible, require_useful
from signals.services import publish
from tests.connections import make
from tests.console.conftest import statements
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
SPEC = ConnectionSpec(connection_id="", account="")
ENDS = {
    "SUBMITTING": Outcome.SENT,
    "PENDING": Outcome.WAITING,
    "SKIPPED": Outcome.SKIPPED,
    "DENIED": Outcome.DENIED,
    "EXPIRED": Outcome.DENIED,
}


def end_of(order: Order) -> Outcome:
    is_unlisted = order.reason == Code.SYMBOL_NOT_AT_BROKER
    return Outcome.NOT_LISTED if is_unlisted else ENDS[order.status]


def waiting_signal(feed: Feed, **fields: Any) -> Signal:
    """An unpublished buy with a stop and a target."""
    values: dict[str, Any] = {
        "feed": feed, "currency_pair": "EUR/USD", "direction": "BUY", "sl": D("1.09"),
        "approval": Approval.APPROVED, "target_prices": [D("1.12")], "target_fractions": [D(1)],
    } | fields  # fmt: skip
    return Signal.objects.create(**values)


def counts_of(found: Preview) -> Counter[tuple[str, str]]:
    counts = Counter({(str(one.outcome), one.name): one.connections for one in found.reasons})
    if found.sent:
        counts["sent", ""] = found.sent
    return counts


def happened(signal: Signal) -> tuple[Counter[tuple[str, str]], list[D]]:
    """Publish, claim as a worker does, and count the outcomes."""
    assert publish(signal.pk, by=None)
    claim(
        factories.pending(),
        worker_id="w",
        deferral_policy=lambda entries: deferred_by_brokers(
            entries, open_hosts(), maintenance.windows_open_now()
        ),
    )
    orders = Order.objects.filter(signal=signal, leg="entry")
    counts = Counter((str(end_of(order)), order.reason) for order in orders)
    return counts, sorted(o.quantity for o in orders if o.status == "SUBMITTING")


def health(account: ExecutionConnection, **fields: Any) -> None:
    ConnectionHealth.objects.filter(connection=account).update(**fields)


def everybody(feed: Feed) -> None:
    """Accounts of different sizes and limits, and one for each obstacle."""
    for size in ("10", "40", "100", "250"):
        factories.account(feed, type="paper", preset_fixed_quantity=D(size))
    factories.account(
        feed, type="paper", preset_sizing_mode="RISK", preset_risk_percent=D(1),
        preset_fixed_quantity=None,
    )  # fmt: skip
    factories.account(feed, type="paper", preset_max_quantity=D(99))
    factories.account(feed, type="paper", snapshot_free_margin=D(1))
    factories.account(feed, type="paper", preset_fixed_quantity=D(3))
    factories.account(feed, type="paper", is_paused=True)
    factories.account(feed, type="paper", is_active=False)
    run("UPDATE connections_executionconnection SET data_connection_id = NULL WHERE id = %s",
        (factories.account(feed, type="paper").pk,))  # fmt: skip
    health(factories.account(feed, type="paper"), status="ERROR", unreachable_at=market_now())
    health(factories.account(feed, type="paper"), status="ERROR", unreachable_at=None)
    health(factories.account(feed, type="paper"), reconciled_at=None)
    health(
        factories.account(feed, type="paper"), circuit_open_until=market_now() + timedelta(hours=1)
    )
    health(factories.account(feed, type="paper"), status="UNTESTED")
    unquoted = factories.account(feed, type="paper")
    run("DELETE FROM prices_latestquote WHERE data_connection_id = %s",
        (unquoted.data_connection_id,))  # fmt: skip
    stale = factories.account(feed, type="paper")
    run("UPDATE prices_latestquote SET received_at = now() - interval '62 s'"
        " WHERE data_connection_id = %s", (stale.data_connection_id,))  # fmt: skip
    run("UPDATE connections_accountsnapshot SET read_at = now() - interval '902 s'"
        " WHERE connection_id = %s", (factories.account(feed, type="paper").pk,))  # fmt: skip
    make.kill_switch(
        "REDUCING", scope="CONNECTION", connection=factories.account(feed, type="paper")
    )


def test_preview_equals_outcome_of_publication(feed: Feed, broker: FakeBroker) -> None:
    everybody(feed)
    signal = waiting_signal(feed)
    found = preview(signal)
    foreseen, sizes = counts_of(found), found.sizes
    counts, quantities = happened(signal)
    assert foreseen == counts
    assert found.candidates == sum(counts.values()) == 20
    assert found.sent == len(quantities) == 5
    assert (sizes[0].broker_type, sizes[0].connections) == ("", 5)
    assert (sizes[0].smallest, sizes[0].median, sizes[0].largest) == (
        quantities[0], quantities[2], quantities[-1],
    )  # fmt: skip
    assert sizes[1].broker_type == "paper"


@pytest.mark.parametrize(
    "twist",
    [
        "UPDATE prices_latestquote SET bid = 1.08, ask = 1.09",
        "UPDATE prices_latestquote SET ask = 1.12",
        "UPDATE connections_instrument SET stops_level = 0.0101",
        "DELETE FROM connections_instrument",
        "DELETE FROM connections_accountsnapshot",
        "UPDATE connections_accountsnapshot SET currency = 'XYZ'",
        "UPDATE connections_tradingpreset SET max_portfolio_risk_percent = 0.0099",
        "UPDATE connections_tradingpreset SET max_leverage = 0.0109",
        "UPDATE connections_tradingpreset SET max_spread = 0.9",
        "UPDATE connections_tradingpreset SET max_symbol_exposure_percent = 1.0999",
        "UPDATE connections_tradingpreset SET allowed_symbols = '{GBP/*}'",
        "UPDATE connections_tradingpreset SET max_currency_exposure_percent = 1.0999",
        "UPDATE connections_tradingpreset SET max_daily_notional = 109.99",
        "UPDATE connections_tradingpreset SET max_daily_volume = 99",
        "UPDATE connections_tradingpreset SET trading_sessions ="
        " ARRAY[to_char(now() + interval '2 days', 'DY') || ' 00:00-00:01']",
        "UPDATE connections_subscription SET max_daily_volume = 99",
        "UPDATE connections_subscription SET allowed_symbols = '{GBP/*}'",
        "UPDATE connections_subscription SET is_paused = true",
        "UPDATE connections_subscription SET directions = 'SELL'",
        "UPDATE connections_subscription SET multiplier = 2.5",
        "UPDATE connections_executionconnection SET preset_id = NULL",
    ],
)
def test_preview_predicts_each_denial(feed: Feed, broker: FakeBroker, twist: str) -> None:
    for size in ("50", "100"):
        factories.account(feed, type="paper", preset_fixed_quantity=D(size))
    run(twist)
    check(waiting_signal(feed))


@pytest.mark.parametrize(
    "fields",
    [
        {"order_type": "LIMIT", "open_price": D("1.10")},
        {"order_type": "STOP", "stop_price": D("1.105")},
        {"max_slippage_pips": D(1), "open_price": D("1.095")},
        {"max_slippage_pips": D(1)},
        {"max_spread": D(1)},
        {"max_spread": D("0.9")},
        {"risk_category": "large"},
        {"sl": None},
    ],
    ids=["limit", "stop", "run away", "bounded", "narrow", "wide", "large", "no stop"],
)
def test_preview_predicts_effects_of_the_signals_fields(
    feed: Feed, broker: FakeBroker, fields: dict[str, Any]
) -> None:
    factories.account(feed, type="paper")
    factories.account(
        feed, type="paper", preset_sizing_mode="RISK", preset_risk_percent=D(1),
        preset_fixed_quantity=None,
    )  # fmt: skip
    check(waiting_signal(feed, **fields))


def check(signal: Signal) -> None:
    """The preview equals the outcome."""
    found = preview(signal)
    counts, quantities = happened(signal)
    assert counts_of(found) == counts
    if quantities:
        assert (found.sizes[0].smallest, found.sizes[0].largest) == (quantities[0], quantities[-1])


def test_preview_counts_open_positions_of_an_account(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.filled(factories.signal(feed))
    run("UPDATE connections_tradingpreset SET max_open_positions = 1")
    signal = waiting_signal(feed)
    assert (
        counts_of(preview(signal)) == {("denied", "MAX_OPEN_POSITIONS"): 1} == happened(signal)[0]
    )


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("max_orders_per_minute = 1", "MAX_ORDERS_PER_MINUTE"),
        ("same_trade_window_seconds = 60", "SAME_TRADE"),
        ("max_daily_volume = 199", "DAILY_VOLUME"),
        ("max_currency_exposure_percent = 2.1", "CURRENCY_EXPOSURE"),
    ],
)
def test_preview_counts_what_the_account_has_sent(
    alice: ExecutionConnection, feed: Feed, limit: str, code: str
) -> None:
    factories.filled(factories.signal(feed))
    TradingPreset.objects.update(**make.day_around_now())
    run(f"UPDATE connections_tradingpreset SET {limit}")
    signal = waiting_signal(feed)
    assert counts_of(preview(signal)) == {("denied", code): 1} == happened(signal)[0]


def test_preview_counts_waiting_accounts(feed: Feed, broker: FakeBroker) -> None:
    away = factories.account(feed, type="paper")
    factories.account(feed, type="crypto", exchange_name="kraken", sealed_credentials=b"sealed")
    run("INSERT INTO connections_hostcircuit (host, opened_at, probe_at, times, failing, contacted,"
        " message) VALUES (%s, clock_timestamp(), clock_timestamp(), 1, 5, 5, '')",
        (ExecutionConnection.objects.get(pk=away.pk).broker_host,))  # fmt: skip
    now = market_now()
    MaintenanceWindow.objects.create(
        broker_type="crypto", exchange_name="kraken", note="Upgrade.", minutes=30,
        starts_at=(now - timedelta(minutes=5)).time(),
    )  # fmt: skip
    signal = waiting_signal(feed)
    found = counts_of(preview(signal))
    assert found == {("waiting", "BROKER_HOST_DOWN"): 1, ("waiting", "BROKER_MAINTENANCE"): 1}


def test_preview_writes_nothing(feed: Feed, broker: FakeBroker) -> None:
    everybody(feed)
    signal = waiting_signal(feed)
    tables = [row.name for row in rows(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(relname) AS name"
        " FROM pg_stat_user_tables"
    )]  # fmt: skip
    count = "; ".join(tables) and " + ".join(f"(SELECT count(*) FROM {name})" for name in tables)
    before = rows(f"SELECT {count} AS n, (SELECT last_value FROM execution_order_id_seq) AS last")
    preview(signal)
    assert (
        rows(f"SELECT {count} AS n, (SELECT last_value FROM execution_order_id_seq) AS last")
        == before
    )
    assert ENTRIES in INSERT_ENTRIES  # one statement selects the candidates


def test_number_of_statements_does_not_grow_with_accounts(feed: Feed, broker: FakeBroker) -> None:
    def count() -> int:
        with statements() as sent:
            preview(signal)
        return len(sent)

    factories.account(feed, type="paper")
    signal = waiting_signal(feed)
    of_one = count()
    for _ in range(20):
        factories.account(feed, type="paper")
    assert count() == of_one <= 21  # two of them let the others keep their plans


def test_unsaved_signal_has_the_same_preview(feed: Feed, broker: FakeBroker) -> None:
    everybody(feed)
    saved = waiting_signal(feed)
    draft = Signal(
        feed=feed, currency_pair="EUR/USD", direction="BUY", sl=D("1.09"),
        target_prices=[D("1.12")], target_fractions=[D(1)],
    )  # fmt: skip
    assert counts_of(preview(draft)) == counts_of(preview(saved))


# ---- what is wrong for all accounts ----
@pytest.mark.parametrize(
    ("stated", "field", "text"),
    [
        ({}, "provider_quantity", "It lacks provider_quantity, provider_equity, provider_cu"),
        ({"provider_quantity": D(9), "provider_equity": D(9)}, "provider_currency",
         "It lacks provider_currency."),
    ],
)  # fmt: skip
def test_missing_provider_figure_is_wrong_for_all_who_size_by_it(
    feed: Feed, broker: FakeBroker, stated: dict[str, Any], field: str, text: str
) -> None:
    factories.account(feed, type="paper", preset_sizing_mode="EQUITY_RATIO")
    signal = waiting_signal(feed, **stated)
    with pytest.raises(InvalidInputError) as raised:
        require_possible(signal)
    assert (raised.value.code, raised.value.field) == (Code.PROVIDER_SIZE_MISSING, field)
    assert text in raised.value.detail
    factories.account(feed, type="paper")  # sized without the provider's figures
    require_possible(signal)


def test_preview_sizes_by_the_providers_figures(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, type="paper", preset_sizing_mode="EQUITY_RATIO")
    found = preview(
        waiting_signal(
            feed, provider_quantity=D(1000), provider_equity=D(50_000), provider_currency="EUR"
        )
    )
    assert found.sizes[0].median == 180  # 1,000 x 10,000 USD / 54,997.50 USD = 181.8


def test_stop_on_the_wrong_side_is_wrong_for_all(feed: Feed, broker: FakeBroker) -> None:
    everybody(feed)
    signal = waiting_signal(feed, sl=D("1.11"))
    found = preview(signal)
    assert found.sent == 0
    assert found.is_wrong_for_all
    with pytest.raises(InvalidInputError) as raised:
        require_possible(signal)
    assert (raised.value.code, raised.value.field) == (Code.STOP_AT_ENTRY, "sl")
    assert "Entry 1.1, level 1.11." in raised.value.detail
    with pytest.raises(ConflictError) as useless:
        require_useful(signal)
    assert useless.value.code == Code.STOP_AT_ENTRY


def test_accounts_without_the_symbol_are_counted_separately(feed: Feed, broker: FakeBroker) -> None:
    factories.account(feed, type="paper")
    Instrument.objects.create(
        book="elsewhere", symbol="GBPUSD", pair="GBP/USD", digits=5, pip=D("0.0001"),
        read_at=market_now(), quantity_min=1, quantity_step=1, quantity_max=100, contract_size=1,
    )  # fmt: skip
    factories.account(feed, type="paper", instrument_book="elsewhere")  # skipped at fan-out
    factories.account(
        feed, type="paper", instrument_book=""
    )  # nothing was synced: found at the claim
    signal = waiting_signal(feed)
    found = preview(signal)
    assert (found.sent, found.not_listed, found.skipped, found.denied) == (1, 2, 0, 0)
    assert (found.candidates, found.is_wrong_for_all) == (3, False)
    (reason,) = found.reasons
    assert (reason.name, reason.connections) == ("SYMBOL_NOT_AT_BROKER", 2)
    assert happened(signal)[0] == counts_of(found)


def test_signal_that_one_account_can_take_is_accepted(feed: Feed, broker: FakeBroker) -> None:
    everybody(feed)
    lower = factories.account(feed, type="paper")
    factories.quote(lower, bid="1.115", ask="1.116")
    signal = waiting_signal(feed, sl=D("1.11"))
    assert preview(signal).sent == 1
    require_possible(signal)
    require_useful(signal)


def test_waiting_account_that_could_take_it_later_counts_as_possible(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, type="paper")
    later = factories.account(feed, type="paper")
    factories.quote(later, bid="1.115", ask="1.116")
    health(later, reconciled_at=None)
    signal = waiting_signal(feed, sl=D("1.11"))
    require_possible(signal)
    factories.quote(later)
    with pytest.raises(InvalidInputError):
        require_possible(signal)


def test_closed_market_refuses_the_publication_and_not_the_signal(
    feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, type="paper")
    run("UPDATE prices_latestquote SET received_at = now() - interval '2 days'")
    signal = waiting_signal(feed)
    require_possible(signal)
    with pytest.raises(ConflictError) as raised:
        require_useful(signal)
    assert raised.value.code == Code.QUOTE_STALE


def test_without_candidates_nothing_is_refused(feed: Feed) -> None:
    signal = waiting_signal(feed, sl=D("1.11"))
    assert preview(signal).candidates == 0
    require_possible(signal)
    require_useful(signal)


# ---- MODIFY and CLOSE ----
@pytest.mark.parametrize(
    ("fields", "many"),
    [
        ({"action": "CLOSE"}, 2),
        ({"action": "CLOSE", "close_fraction": D("0.5")}, 2),
        ({"action": "MODIFY", "sl": D("1.095")}, 2),
    ],
    ids=["close", "close half", "modify"],
)
def test_follow_up_preview_counts_the_orders_it_reaches(
    feed: Feed, broker: FakeBroker, fields: dict[str, Any], many: int
) -> None:
    factories.account(feed)
    opened = factories.signal(feed)
    factories.filled(opened)
    late = factories.account(feed)
    run("INSERT INTO execution_order (signal_id, connection_id, leg, pair, side, order_type,"
        " time_in_force, status) VALUES (%s, %s, 'entry', 'EUR/USD', 'BUY', 'MARKET', 'GTC',"
        " 'PENDING')", (opened.pk, late.pk))  # fmt: skip
    assert ExecutionPosition.objects.count() == 1
    follow_up = waiting_signal(
        feed, **{"refers_to": opened, "sl": None, "target_prices": [], "target_fractions": [],
                 **fields},
    )  # fmt: skip
    assert preview(follow_up).sent == many
    publish(follow_up.pk, by=None)
    follow_up.refresh_from_db()
    assert follow_up.candidate_count == many


def test_a_published_signal_has_no_preview(alice: ExecutionConnection, feed: Feed) -> None:
    with pytest.raises(ConflictError, match="see its orders for the results"):
        preview(factories.signal(feed))


# ---- a resting order whose price the market has reached ----
@pytest.fixture
def dealer(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> FakeBroker:
    """A broker that refuses such an order, as MetaTrader does."""
    both = frozenset({OrderType.LIMIT, OrderType.STOP})
    usual = broker.capabilities
    monkeypatch.setattr(
        broker, "capabilities", lambda spec: replace(usual(spec), refuses_reached=both)
    )
    return broker


REACHED: list[tuple[dict[str, Any], str]] = [
    ({"order_type": "STOP", "stop_price": D("1.095")}, "stop_price"),
    ({"order_type": "LIMIT", "open_price": D("1.105")}, "open_price"),
]


@pytest.mark.parametrize(("fields", "field"), REACHED, ids=["stop", "limit"])
def test_preview_predicts_rejection_of_a_price_the_market_has_reached(
    feed: Feed, dealer: FakeBroker, fields: dict[str, Any], field: str
) -> None:
    factories.account(feed)
    factories.account(feed, type="paper")  # there it fills at once, or triggers
    signal = waiting_signal(feed, **fields)
    require_possible(signal)
    check(signal)
    assert Order.objects.filter(reason=Code.PRICE_WRONG_SIDE, status="DENIED").count() == 1


@pytest.mark.parametrize(("fields", "field"), REACHED, ids=["stop", "limit"])
def test_order_that_no_follower_could_take_is_refused(
    feed: Feed, dealer: FakeBroker, fields: dict[str, Any], field: str
) -> None:
    factories.account(feed)
    signal = waiting_signal(feed, **fields)
    with pytest.raises(InvalidInputError) as raised:
        require_possible(signal)
    assert (raised.value.code, raised.value.field) == (Code.PRICE_WRONG_SIDE, field)
    assert "market 1.1." in raised.value.detail
    with pytest.raises(ConflictError) as useless:
        require_useful(signal)
    assert useless.value.code == Code.PRICE_WRONG_SIDE


def test_brokers_that_reject_a_reached_price() -> None:
    both = {OrderType.LIMIT, OrderType.STOP}
    found = {kind: capabilities_of(kind, SPEC).refuses_reached for kind in sorted(BUILT_IN)}
    dealers = {"mt4": both, "mt5": both | {OrderType.STOP_LIMIT}, "mt5-dwx": both}
    assert found == dict.fromkeys(found, frozenset()) | dealers
