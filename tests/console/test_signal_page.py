"""The page of a signal: the sum, the filters, the export, and publishing once."""

import csv
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from itertools import pairwise
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from connections.models import ExecutionConnection
from console.queries import candidates
from console.queries.funnel import Progress, funnel
from execution.models import Order, Status
from execution.signal_stages import stages_of
from signals import services
from signals.models import Signal
from tests.console import seed
from tests.execution.factories import without_triggers
from tests.html import html_of
from tests.matrix import unrendered
from tests.statements import sent_statements

Page = Callable[..., str]


def address(signal: Signal, rest: str = "") -> str:
    return f"/admin/signals/signal/{signal.pk}/{rest}"


def test_page_displays_the_sum_of_all_outcomes(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    html = page(address(world["signal"]))
    assert "70 + 6 + 7 + 7 + 4 + 1 + 1 + 2 + 2 = 100" in html
    assert "1 failed, 2 unknown" in html
    assert "1 to 50 of 100" in html


def test_page_displays_the_providers_own_order(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    assert "own order" not in page(address(world["signal"]))
    traded = {
        "provider_quantity": Decimal(100_000), "provider_equity": Decimal(25_000),
        "provider_currency": "USD",
    }  # fmt: skip
    Signal.objects.filter(pk=world["signal"].pk).update(**traded)
    html = page(address(world["signal"]))
    assert "own order: 100,000 EUR at an equity of 25,000.00 USD." in html


def steps_of(signal: Signal) -> list[tuple[str, int, int, int]]:
    steps = funnel(candidates.counts(signal).progress)
    return [(step.name, step.passed, step.ended, step.waiting) for step in steps]


def test_funnel_counts_only_orders_that_passed_each_step(world: dict[str, Any]) -> None:
    assert steps_of(world["signal"]) == [
        ("Candidates", 100, 0, 0),
        ("Eligible", 93, 7, 0),
        ("Within limits", 85, 7, 1),
        ("Answered by the broker", 82, 1, 2),
        ("Accepted", 78, 4, 0),
        ("Filled", 70, 3, 5),
    ]


def test_funnel_shows_nothing_at_the_broker_before_a_worker_claims(world: dict[str, Any]) -> None:
    entries = Order.objects.filter(signal=world["signal"])
    with without_triggers():
        entries.update(status="PENDING", submitted_at=None, acknowledged_at=None, filled_quantity=0)
    assert steps_of(world["signal"])[1:4] == [
        ("Eligible", 100, 0, 0),
        ("Within limits", 0, 0, 100),
        ("Answered by the broker", 0, 0, 0),
    ]
    notes = [step.note for step in funnel(candidates.counts(world["signal"]).progress)]
    assert notes == ["100 connections", "all of them", "100 pending", "", "", ""]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_funnel_accounts_for_each_order_once(status: str, sent: bool, answered: bool) -> None:
    steps = funnel({Progress(status, sent=sent, answered=answered): 3})
    for before, step in pairwise(steps):
        assert before.passed == step.passed + step.ended + step.waiting
    assert sum(step.ended + step.waiting for step in steps) + steps[-1].passed == 3


def test_signal_page_polls_until_its_orders_are_final(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    path = address(world["signal"])
    assert f'hx-get="{path}?state=filled" hx-trigger="every 3s"' in page(path, state="filled")
    entries = Order.objects.filter(signal=world["signal"])
    entries.filter(status__in=["PENDING", "UNKNOWN"]).update(status="FAILED")
    assert 'hx-trigger="every 15s"' in page(path), "working orders change rarely"
    entries.filter(status__in=["SUBMITTED", "PARTIALLY_FILLED"]).update(status="EXPIRED")
    html = page(path)
    assert f'hx-get="{path}' not in html
    assert "Final: its orders no longer change." in html


@pytest.mark.parametrize(
    ("query", "many"),
    [
        ("", 100),
        ("state=filled", 70),
        ("state=working", 6),
        ("state=ended", 3),
        ("state=unknown", 2),
        ("reason=CONNECTION_PAUSED", 4),
        ("state=rejected&reason=NO_MONEY", 2),
        ("broker_type=mt5", 20),
        ("q=NO_MONEY", 2),
        ("q=7099", 1),
        ("state=filled&reason=NO_MONEY", 0),
        ("state=unknown-state", 100),
    ],
)
def test_filters_select_exactly_the_matching_orders(
    world: dict[str, Any], query: str, many: int
) -> None:
    assert candidates.filtered_orders(world["signal"], QueryDict(query)).count() == many


def test_orders_that_need_attention_come_first(world: dict[str, Any]) -> None:
    first = candidates.filtered_orders(world["signal"], QueryDict(""))[:7]
    states = [order.status for order in first]
    assert states == ["UNKNOWN"] * 2 + ["FAILED"] + ["REJECTED"] * 4


def test_each_candidate_states_its_reason(
    world: dict[str, Any], page: Page, client: Client
) -> None:
    client.force_login(world["operator"])
    html = page(address(world["signal"]), state="denied", reason="PORTFOLIO_RISK")
    assert "If all stops were hit together, the loss" in html
    assert "Open risk would be 10.6 % of equity; the cap is 10 %." in html
    assert "<code>PORTFOLIO_RISK</code>" in html


def test_acknowledgements_are_all_in_the_histogram(world: dict[str, Any]) -> None:
    orders = candidates.orders_of(world["signal"])
    times = candidates.ack_times(stages_of(orders, count=100).answered_ms)
    assert times is not None
    assert times.chart is not None
    answered = Order.objects.filter(signal=world["signal"], acknowledged_at__isnull=False).count()
    assert times.count == answered == sum(column.count for column in times.chart.columns)


def test_export_has_every_candidate_and_no_formula(world: dict[str, Any], client: Client) -> None:
    client.force_login(world["operator"])
    connection = world["connections"][0]
    connection.name = "=HYPERLINK(1)"
    connection.save(update_fields=["name"])
    response = client.get(address(world["signal"], "candidates.csv"))
    table = list(csv.reader(StringIO(response.text)))
    assert len(table) == 101
    assert {"'=HYPERLINK(1)"} == {row[0] for row in table if "HYPERLINK" in row[0]}
    filtered = client.get(address(world["signal"], "candidates.csv?state=unknown"))
    assert len(filtered.text.splitlines()) == 3


def test_page_needs_few_queries(world: dict[str, Any], client: Client) -> None:
    client.force_login(world["operator"])
    client.get(address(world["signal"]))
    with sent_statements() as sent:
        client.get(address(world["signal"]))
    assert len(sent) <= 12, "\n".join(sent)


def test_publishing_twice_publishes_once(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    first = client.post(address(small["waiting"], "publish/"), follow=True)
    second = client.post(address(small["waiting"], "publish/"), follow=True)
    assert "was published to 10 candidates" in html_of(first)
    assert "was already published; nothing was sent twice" in html_of(second)
    assert Order.objects.filter(signal=small["waiting"]).count() == 10
    published = Signal.objects.get(pk=small["waiting"].pk)
    assert (published.published_by, published.candidate_count) == (small["operator"], 10)


def test_opening_the_confirmation_publishes_nothing(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    client.get(address(small["waiting"], "publish/"))
    assert not Signal.objects.published().exists()


def test_refused_publication_states_its_reason_and_changes_nothing(
    small: dict[str, Any], client: Client
) -> None:
    client.force_login(small["operator"])
    services.cancel(small["waiting"].pk, by=small["operator"])
    html = html_of(client.post(address(small["waiting"], "publish/"), follow=True))
    assert "Nothing was changed." in html
    assert "SIGNAL_ENDED" in html
    assert Order.objects.count() == 0


def test_published_close_is_not_cancelled(small: dict[str, Any], client: Client) -> None:
    """Its exits are sent until they are done: "cancelled" would be wrong."""
    client.force_login(small["operator"])
    opened = seed.signal(small["feed"], candidate_count=0)
    close = seed.signal(small["feed"], action="CLOSE", refers_to=opened, candidate_count=1)
    assert "Cancel unfilled orders" not in html_of(client.get(address(close)))
    for send in (client.get, client.post):
        html = html_of(send(address(close, "cancel/"), follow=True))
        assert f"{close.number} is a published CLOSE, which cannot be cancelled" in html
        assert "STATE_CONFLICT" in html
        assert "is cancelled" not in html
    close.refresh_from_db()
    assert close.cancelled_at is None


def test_approval_needs_a_post(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    pending = seed.signal(small["feed"], approval="PENDING")
    assert client.get(address(pending, "approve/")).status_code == 302  # a GET changes nothing
    pending.refresh_from_db()
    assert pending.approval == "PENDING"
    client.post(address(pending, "approve/"))
    pending.refresh_from_db()
    assert (pending.approval, pending.approved_by) == ("APPROVED", small["operator"])


def test_published_signal_cannot_be_edited(world: dict[str, Any], client: Client) -> None:
    client.force_login(world["operator"])
    response = client.get(address(world["signal"], "change/"))
    assert (response.status_code, response.headers["Location"]) == (302, address(world["signal"]))
    assert client.post(address(world["signal"], "change/"), {}).status_code == 403


FORM = {
    "action": "OPEN", "currency_pair": "eurusd", "direction": "BUY", "order_type": "LIMIT",
    "open_price": "1.3800", "sl": "1.3700", "target_prices": "1.39,1.40",
    "target_fractions": "0.5,0.5", "close_fraction": "1", "time_in_force": "GTC",
    "risk_category": "normal",
}  # fmt: skip


def errors_of(client: Client, form: dict[str, Any]) -> str:
    """Send the form of a signal; return the errors that its page shows, which is not rendered."""
    with unrendered():
        response: Any = client.post("/admin/signals/signal/add/", form)
    if response.status_code == 302:
        return ""
    assert response.status_code == 200
    return " ".join(str(error) for error in response.context_data["errors"])


def test_signal_written_by_hand_waits_for_approval(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    response = client.post("/admin/signals/signal/add/", {**FORM, "feed": str(small["feed"].pk)})
    assert response.status_code == 302
    written = Signal.objects.order_by("pk").last()
    assert written is not None
    assert (written.currency_pair, written.approval, written.origin) == (
        "EUR/USD",
        "PENDING",
        "HAND",
    )
    assert written.target_prices == [seed.D("1.39"), seed.D("1.40")]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sl", "1.39", "must lie below"),
        ("currency_pair", "NOPE", "Write it as BASE/QUOTE"),
        ("open_price", "", "A limit order needs open_price"),
        ("order_type", "STOP_LIMIT", "A stop-limit order needs stop_price"),
        ("order_type", "IF_TOUCHED", "An if-touched order needs stop_price"),
        ("order_type", "TRAILING_STOP", "A trailing stop needs one of"),
        ("trail_pips", "5", "Only a trailing stop"),
        ("activation_price", "1.5", "Only a trailing stop"),
        ("time_in_force", "GTD", "GTD needs valid_until"),
        ("target_fractions", "0.5", "one fraction for each target"),
        ("target_fractions", "0.7,0.7", "add up to 1.4, above 1"),
        ("action", "CLOSE", "must name the published signal"),
    ],
)
def test_form_applies_the_rules_of_all_entry_points(
    small: dict[str, Any], client: Client, field: str, value: str, message: str
) -> None:
    client.force_login(small["operator"])
    form = {**FORM, "feed": str(small["feed"].pk), field: value}
    assert message in errors_of(client, form)
    assert Signal.objects.count() == 1


def test_stop_limit_order_is_written_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    form = {
        **FORM, "feed": str(small["feed"].pk), "order_type": "STOP_LIMIT", "stop_price": "1.3910",
        "open_price": "1.3905", "target_prices": "1.40,1.41", "time_in_force": "GTD",
         "valid_until_0": "2099-01-01", "valid_until_1": "00:00:00",
    }  # fmt: skip
    for changes, message in (
        ({"open_price": "1.3915", "sl": "1.3912"}, "must lie below 1.391"),
        ({"time_in_force": "IOC"}, "IOC ends at once"),
        ({"max_slippage_pips": "2"}, "never filled beyond its open_price"),
        (
            {"time_in_force": "DAY", "valid_until_0": "", "valid_until_1": ""},
            "It has no DAY",  # MetaTrader 4
        ),
    ):
        assert message in errors_of(client, form | changes)
    ExecutionConnection.objects.update(type="paper")
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert (written.order_type, written.stop_price) == ("STOP_LIMIT", seed.D("1.391"))
    assert str(written) == "Buy EUR/USD stop 1.391 limit 1.3905"
    assert written.valid_until is not None


def test_trailing_stop_is_written_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    form = {
        **FORM, "feed": str(small["feed"].pk), "order_type": "TRAILING_STOP", "trail_pips": "20",
        "open_price": "", "target_prices": "", "target_fractions": "",
    }  # fmt: skip
    stored = Signal.objects.count()
    for changes, message in (
        ({"trail_percent": "1"}, "trail_pips is there already"),
        ({"trail_pips": "", "trail_percent": "100"}, "below 100 percent"),
        ({"open_price": "1.39"}, "leave open_price out"),
        ({"trail_pips": "", "trail_atr_minutes": "60"}, "send it with trail_atr"),
        ({"time_in_force": "IOC"}, "GTC or GTD"),
        ({"currency_pair": "BTC/USD"}, "BTC/USD has no pips"),
        ({"stop_price": "1.4"}, "Only a stop, stop-limit or if-touched order has a stop_price"),
    ):
        assert message in errors_of(client, form | changes)
    assert Signal.objects.count() == stored
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert (written.order_type, written.trail_pips) == ("TRAILING_STOP", seed.D(20))
    assert str(written) == "Buy EUR/USD trailing stop 20 pips"
    by_atr = form | {"trail_pips": "", "trail_atr": "1.5", "trail_atr_minutes": "15"}
    assert client.post("/admin/signals/signal/add/", by_atr).status_code == 302
    written = Signal.objects.latest("id")
    assert (written.trail_atr, written.trail_atr_minutes) == (seed.D("1.5"), 15)
    assert str(written) == "Buy EUR/USD trailing stop 1.5 ATR"


def test_closing_time_is_written_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    form = {
        **FORM, "feed": str(small["feed"].pk), "close_at_0": "2099-01-01",
        "close_at_1": "00:00:00", "close_after_seconds": "600",
    }  # fmt: skip
    for changes, message in (
        ({"close_at_0": "2020-01-01"}, "has passed"),
        ({"close_after_seconds": "0"}, "is not a whole number from 1"),
        ({"not_before_0": "2099-01-01", "not_before_1": "00:00:00"}, "It must be after not_before"),
        ({"action": "CLOSE"}, "close_at is only for MODIFY or OPEN"),
    ):
        assert message in errors_of(client, form | changes)
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert written.time_exit_text == "at 2099-01-01 00:00:00 UTC, or 600 s after the first fill"
    assert written.valid_until == written.close_at


def test_exit_condition_is_written_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    first = seed.signal(small["feed"], candidate_count=1)
    form = {
        **FORM, "feed": str(small["feed"].pk), "close_when_signal": str(first.pk),
        "close_when_state": "CLOSED_AT_STOP",
    }  # fmt: skip
    modify = {
        "action": "MODIFY", "direction": first.direction, "order_type": "MARKET", "open_price": "",
        "sl": "", "target_prices": "", "target_fractions": "",
    }  # fmt: skip
    for changes, message in (
        ({"close_when_state": ""}, "what must have become of that signal"),
        ({"close_when_signal": ""}, "Send the signal, too"),
        ({"action": "CLOSE"}, "close_when_signal is only for MODIFY or OPEN"),
        ({**modify, "refers_to": str(first.pk)}, "is the trade itself"),
    ):
        assert message in errors_of(client, form | changes)
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert written.exit_condition_text == f"once {first.number} is closed at its stop"
    page = html_of(client.get(f"/admin/signals/signal/{written.pk}/"))
    assert f"losed once {first.number} is closed at its stop" in page


def test_end_of_entries_is_moved_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    opened = seed.signal(small["feed"], candidate_count=1)
    form = {
        **FORM, "feed": str(small["feed"].pk), "action": "MODIFY", "refers_to": str(opened.pk),
        "direction": opened.direction, "order_type": "MARKET", "open_price": "", "sl": "",
        "target_prices": "", "target_fractions": "", "valid_until_0": "2099-01-01",
        "valid_until_1": "00:00:00",
    }  # fmt: skip
    for changes, message in (
        ({"direction": "BUY"}, "direction must be SELL or left out"),
        ({"valid_until_0": "2020-01-01"}, "has passed"),
        ({"close_at_0": "2098-12-31", "close_at_1": "00:00:00"}, "when the position is closed"),
    ):
        assert message in errors_of(client, form | changes)
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert (written.action, written.refers_to, str(written.valid_until)) == (
        "MODIFY", opened, "2099-01-01 00:00:00+00:00",
    )  # fmt: skip


def test_entry_with_a_condition_is_written_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    first = Signal.objects.latest("id")
    form = {
        **FORM, "feed": str(small["feed"].pk), "after_signal": str(first.pk),
        "after_state": "CLOSED_AT_TARGET", "not_before_0": "2099-01-01", "not_before_1": "00:00:00",
    }  # fmt: skip
    for changes, message in (
        ({"after_state": ""}, "what must have become of that signal"),
        ({"after_signal": ""}, "Send the signal, too"),
        (
            {"valid_until_0": "2098-12-31", "valid_until_1": "00:00:00"},
            "It must be before valid_until",
        ),
        ({"action": "CLOSE"}, "after_signal is only for OPEN"),
    ):
        assert message in errors_of(client, form | changes)
    assert client.post("/admin/signals/signal/add/", form).status_code == 302
    written = Signal.objects.latest("id")
    assert written.condition_text == (
        f"not before 2099-01-01 00:00:00 UTC, after {first.number}: closed at its target"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"currency_pair": "BTC/USD", "max_spread": "2", "max_spread_unit": "PIPS"}, "has no pips"),
        ({"currency_pair": "BTC/USD", "max_slippage_unit": "PIPS"}, "has no pips"),
        ({"action": "MODIFY", "max_spread": "2"}, "max_spread is only for OPEN."),
        ({"action": "CLOSE", "max_slippage_unit": "BPS"}, "max_slippage_unit is only for OPEN."),
    ],
)
def test_limit_without_meaning_is_refused_by_hand(
    small: dict[str, Any], client: Client, fields: dict[str, str], message: str
) -> None:
    client.force_login(small["operator"])
    form = {**FORM, "feed": str(small["feed"].pk), "refers_to": str(Signal.objects.get().pk)}
    assert message not in errors_of(client, form)
    stored = Signal.objects.count()
    assert message in errors_of(client, form | fields)
    assert Signal.objects.count() == stored


def test_stop_order_takes_no_slippage_limit_by_hand(small: dict[str, Any], client: Client) -> None:
    client.force_login(small["operator"])
    form = {
        **FORM, "feed": str(small["feed"].pk), "order_type": "STOP", "open_price": "",
        "stop_price": "1.3800", "max_slippage_pips": "2", "max_slippage_unit": "PIPS",
    }  # fmt: skip
    response = client.post("/admin/signals/signal/add/", form)
    assert "No broker limits the price of a stop order" in html_of(response)
    assert not Signal.objects.filter(order_type="STOP").exists()
    form |= {"max_slippage_pips": "", "max_slippage_unit": ""}
    without = client.post("/admin/signals/signal/add/", form)
    assert "No broker limits the price" not in html_of(without)
