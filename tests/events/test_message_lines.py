"""Each line of a message about several events has the facts of the event's own message."""

from dataclasses import replace
from typing import Any

import pytest
from apprise import Apprise
from django.db import transaction

from common.reason_codes import Code
from events import channels, services
from events.context import EventContext
from events.messages import render_digest
from events.messages.lines import fitting
from events.models import Channel, EventKind
from events.services import NewEvent
from tests.events.receiver import Receiver
from tests.events.test_messages import FIGURES, ORDER, REFUSED, event
from users.models import User

FILL = {
    **ORDER, "price": "1.0846", "slippage": "0.1", "slippage_unit": "PIPS", "position": "5",
    "leg": "entry", "is_open": "1",
}  # fmt: skip
OTHER = {"account": "MT5 · 7715", "trade": "Sell 5 XAU/USD", "signal": "S-9"}
POSITION = {
    "account": "MT5 · 7714", "trade": "Buy 10,000 EUR/USD", "signal": "S-2041", "position": "5",
    "currency": "USD", "trade_plan_id": "plan-7",
}  # fmt: skip


def line_of(one: EventContext) -> str:
    """Return the line of an event in a message with one of another signal."""
    lines = render_digest([one, event("connection.recovered", number=99, facts=OTHER)]).body
    return next(line for line in lines.splitlines() if "S-2041" in line)


@pytest.mark.parametrize("kind", ["order.filled", "order.partially_filled"])
def test_line_of_a_fill_carries_price_slippage_plan_and_signal(kind: str) -> None:
    line = line_of(event(kind, facts=FILL))
    for part in ("Buy 10,000 EUR/USD", "1.0846", "+0.1 pips", "plan-7", "S-2041", "7714"):
        assert part in line


@pytest.mark.parametrize("kind", REFUSED)
def test_line_of_each_refusal_carries_code_limit_value_and_prices(kind: str) -> None:
    for code in Code:
        line = line_of(event(kind, facts=ORDER, code=code.value, figures=FIGURES))
        for part in ("Buy 10,000 EUR/USD", "1.084", "1.0845", "plan-7", "S-2041", "7714"):
            assert part in line, f"{part} is missing in {line}"
        assert f"{code.value}: Slippage: 4.2, maximum 3" in line, line
        assert len(line) <= 300


def test_line_without_figures_has_the_detail_else_the_sentence() -> None:
    paused = line_of(event("order.skipped", facts=ORDER, code="CONNECTION_PAUSED"))
    assert "CONNECTION_PAUSED: The owner has paused the connection · " in paused
    detail = "the broker answered 10019 " + "x" * 300
    refused = line_of(event("order.rejected", facts=ORDER, code="NO_MONEY", detail=detail))
    assert "NO_MONEY: the broker answered 10019" in refused
    assert "plan-7" in refused


@pytest.mark.parametrize(
    ("kind", "payload", "parts"),
    [
        ("order.placed", {"broker_order_id": "B7"}, ["1.084", "B7"]),
        ("order.changed", {"old_limit_price": "1.2"}, ["1.2 to 1.084"]),
        ("position.unprotected", {"seconds": "12", "stop": "1.09", "code": "MARKET_CLOSED"},
         ["12 s", "1.09", "MARKET_CLOSED"]),
        ("exit.delayed", {"code": "MARKET_CLOSED"}, ["MARKET_CLOSED"]),
        ("loss_limit.reached", {"detail": "Loss today: 512 EUR, maximum 500 EUR"}, ["512", "500"]),
        ("slippage.alert",
         {"slippage": "4.2", "slippage_unit": "PIPS", "expected_price": "1.0845",
          "fill_price": "1.0849", "passed_limit": "1.0848"},
         ["+4.2", "1.0845", "1.0849", "1.0848"]),
        ("position.stop_moved", {"stop": "1.091", "price": "1.099"}, ["1.091", "1.099"]),
        ("position.closed", {"pnl": "5", "reason": "time_exit"}, ["+5.00 USD", "time exit"]),
        ("position.opened", {"price": "1.0846"}, ["1.0846"]),
    ],
)  # fmt: skip
def test_lines_of_other_kinds_carry_their_facts(
    kind: str, payload: dict[str, Any], parts: list[str]
) -> None:
    facts = POSITION if kind.startswith("position") else {**ORDER, "currency": "USD"}
    line = line_of(event(kind, facts=facts, **payload))
    for part in ("plan-7", "7714", *parts):
        assert part in line, f"{part} is missing in {line}"


def test_fill_and_the_position_that_it_opened_are_one_message() -> None:
    fill = event("order.filled", number=1, facts=FILL)
    opened = event("position.opened", number=2, facts=POSITION, position=5, price="1.0846")
    message = render_digest([fill, opened])
    assert message.title == "Filled: Buy 10,000 EUR/USD at 1.0846"
    for part in ("+0.1 pips", "The position is open.", "plan-7", "S-2041", "7714"):
        assert part in message.body


def test_closed_position_states_its_last_exit() -> None:
    target = {**FILL, "leg": "tp-1", "trade": "Sell 4,000 EUR/USD", "price": "1.09"}
    stop = {**FILL, "leg": "sl", "trade": "Sell 6,000 EUR/USD", "price": "1.08"}
    events = [
        event("order.filled", number=1, facts=target),
        event("order.filled", number=2, facts=stop),
        event("position.closed", number=3, facts=POSITION, position=5, pnl="9", reason="sl"),
    ]
    message = render_digest(events)
    assert message.title == "1 order filled, 1 position closed: S-2041"
    assert message.body.count("Sell 6,000") == 1
    closed = next(line for line in message.body.splitlines() if line.startswith("Closed"))
    assert "exit sl, Sell 6,000 EUR/USD at 1.08, slippage +0.1 pips" in closed
    alone = render_digest(events[1:])
    assert alone.title == "Closed with +9.00 USD: Buy 10,000 EUR/USD"
    assert "Last exit: sl, Sell 6,000 EUR/USD at 1.08, slippage +0.1 pips." in alone.body


def test_last_exit_may_be_a_further_order_of_its_request() -> None:
    first, further = ({**FILL, "leg": leg, "price": price}
                      for leg, price in (("sl", "1.08"), ("sl+2", "1.07")))  # fmt: skip
    events = [
        event("order.filled", number=1, facts=first),
        event("order.filled", number=2, facts=further),
        event("position.closed", number=3, facts=POSITION, position=5, pnl="9", reason="sl"),
    ]
    assert "exit sl+2, Buy 10,000 EUR/USD at 1.07" in render_digest(events).body


def test_positions_of_other_orders_are_not_merged() -> None:
    fill = event("order.filled", number=1, facts={**FILL, "position": "6"})
    unknown = {name: text for name, text in POSITION.items() if name != "position"}
    opened = event("position.opened", number=2, facts=unknown, price="1.0846")
    message = render_digest([fill, opened, replace(opened, id=3, facts=POSITION)])
    assert message.title == "1 order filled, 2 positions opened: S-2041"


@pytest.mark.parametrize(
    ("currency", "result", "commission", "swap"),
    [
        ("JPY", "+1,189 JPY", "Commission 10 JPY,", "Swap −1 JPY,"),
        ("KWD", "+1,189.000 KWD", "Commission 10.000 KWD,", "Swap −1.000 KWD,"),
        ("", "+1,189.00:", "Commission 10.00,", "Swap −1.00,"),
    ],
)
def test_results_and_costs_have_the_decimals_of_their_currency(
    currency: str, result: str, commission: str, swap: str
) -> None:
    facts = {**POSITION, "currency": currency}
    closed = event(
        "position.closed", facts=facts, pnl="1200", commission="10", swap="-1", reason="tp"
    )
    message = render_digest([closed])
    assert result in message.title
    assert commission in message.body
    assert swap in message.body


def test_sum_of_results_has_the_decimals_of_its_currency() -> None:
    facts = {**POSITION, "currency": "BTC"}
    closed = [
        event("position.closed", number=number, facts=facts, pnl="0.00012") for number in (1, 2)
    ]
    assert "in total: +0.00024000 BTC." in render_digest(closed).body


@pytest.mark.parametrize("room", [1, 30, 200, 1_000, 5_000])
def test_text_keeps_to_its_room_and_counts_what_it_leaves_out(room: int) -> None:
    many = [
        event("order.denied", number=n, facts=ORDER, code="MAX_LEVERAGE", figures=FIGURES)
        for n in range(25)
    ]
    body = render_digest(many, room=room).body
    shown = body.count("Denied by us")
    assert shown == (10 if room == 5_000 else shown) <= 10
    if room >= 200:
        assert len(body) <= room
        assert body.endswith(f"… and {25 - shown} more.")


def test_lines_that_fit_are_not_cut() -> None:
    assert fitting(["a", "b"], room=3, most=5) == ["a", "b"]
    assert fitting(["aa", "bb"], room=3, most=1, what="links") == ["…", "… and 1 more links."]
    assert fitting([], room=3, most=5) == []


def test_every_service_accepts_the_longest_message() -> None:
    names = {
        "discord": "discord://webhook_id/webhook_token", "gchat": "gchat://a/b/c",
        "gotifys": "gotifys://host/token", "mmosts": "mmosts://host/token",
        "ntfys": "ntfys://topic", "pover": "pover://user@token",
        "slack": "slack://TJDGYGN3G/B1234AAB1/aaaaaaaaaaaaaaaaaaaaaaaa",
        "tgram": "tgram://123456789:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/12315544",
        "msteams": "",
    }  # fmt: skip
    assert set(names) == channels.SERVICES
    for name, url in names.items():
        if url:
            plugin = Apprise.instantiate(url)
            assert plugin is not None, name
            most = channels.most_characters(Channel(url_display=name))
            assert most <= plugin.body_maxlen, name


@pytest.mark.django_db(transaction=True)
def test_burst_to_discord_is_short_enough_for_it(alice: User, hook: Receiver) -> None:
    channel = services.create_channel(user_id=alice.pk, name="hook", url=hook.url())
    Channel.objects.filter(pk=channel.pk).update(url_display="discord")
    payload = {"code": "MAX_LEVERAGE", "figures": FIGURES, "trade": "Buy 10,000 EUR/USD " * 9}
    with transaction.atomic():
        services.emit_many(
            [
                NewEvent(EventKind.ORDER_DENIED, alice.pk, signal_id=n, payload=payload)
                for n in range(30)
            ]
        )
    assert services.deliver().messages == 1
    (got,) = hook.journal
    assert len(got["title"]) + len(got["message"]) <= 2_000
    shown = got["message"].count("Denied by us")
    assert 3 <= shown < 10
    assert f"… and {30 - shown} more.\n" in got["message"]
    assert "/reasons/MAX_LEVERAGE/" in got["message"]
    assert len(got["events"]) == 30


def test_message_about_one_event_keeps_to_its_room() -> None:
    detail = "the broker answered " + "x" * 400
    one = event("order.rejected", facts=ORDER, code="NO_MONEY", detail=detail)
    whole = render_digest([one]).body
    body = render_digest([one], room=400).body
    assert len(whole) > 400 >= len(body)
    assert body.splitlines()[-1].startswith("… and ")
    assert body.endswith(" more lines.")
