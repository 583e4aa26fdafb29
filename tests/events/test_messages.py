"""Messages name the side that refused and invent nothing."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ended_orders import ENDED_WAITS
from common.reason_codes import Code
from events.context import EventContext
from events.messages import DIGEST_LABELS, RENDERERS, render, render_digest
from events.models import ALARMS, TO_ONE_CHANNEL, EventKind
from positions.close_reasons import close_of

AT = datetime(2026, 3, 6, 12, tzinfo=UTC)
FACTS = {"account": "MT5 · 7714", "trade": "Buy 10,000 EUR/USD", "signal": "S-2041"}


def event(
    kind: str, *, number: int = 1, facts: dict[str, str] | None = None, **payload: Any
) -> EventContext:
    known = dict(FACTS if facts is None else facts)
    if kind == "position.closed" and (close := close_of(str(payload.get("reason", "")))):
        known |= {"closed_by": close.sentence, "closing_leg": close.leg}
    return EventContext(number, kind, 1, None, 1, 42, payload, AT, known)


def test_every_event_kind_has_message_and_count() -> None:
    assert set(RENDERERS) == set(DIGEST_LABELS) == set(EventKind)
    assert set(EventKind) >= ALARMS


def test_documentation_has_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    missing = [kind for kind in set(EventKind) - TO_ONE_CHANNEL if f"`{kind}`" not in page]
    assert missing == []


def test_signal_without_known_counts_has_message() -> None:
    words = render(event("signal.incomplete", orders="?", candidates=None))
    assert (
        words.title
        == "Signal S-2041 Buy 10,000 EUR/USD: no order rejected, skipped, late or failed"
    )


def test_more_reasons_than_fit_are_counted() -> None:
    reasons = {f"CODE_{n}": n for n in range(1, 21)}
    words = render(event("signal.incomplete", orders={"REJECTED": reasons}, candidates=2000))
    assert words.title.endswith(
        "210 of 2,000 orders rejected (CODE_20 20, CODE_19 19, CODE_18 18, 17 more reasons)"
    )
    assert "… and 8 more reasons." in words.body


def test_filled_order_message() -> None:
    words = render(event("order.filled", avg_fill_price="1.1002", slippage_pips="0.3"))
    assert words.title == "Filled: Buy 10,000 EUR/USD at 1.1002"
    assert words.body == "Slippage +0.3 pips, + is worse.\nMT5 · 7714, S-2041."


@pytest.mark.parametrize(
    ("kind", "title", "message", "absent"),
    [
        (
            "order.denied",
            "Denied by us: ",
            "Nothing was sent to the broker.",
            ["rejected", "unknown"],
        ),
        ("order.rejected", "Rejected by the broker: ", "", ["denied", "us:"]),
        ("order.failed", "Failed, never sent: ", "the broker does not have it", ["denied"]),
        ("order.unknown", "Unknown: ", "not known yet whether", ["failed", "rejected", "denied"]),
        ("order.cancelled", "Cancelled: ", "", ["rejected", "denied"]),
        ("order.expired", "Expired: ", "", ["rejected", "denied"]),
    ],
)
def test_message_names_the_side_that_refused(
    kind: str, title: str, message: str, absent: list[str]
) -> None:
    words = render(event(kind))
    assert words.title == f"{title}Buy 10,000 EUR/USD"
    assert message in words.body
    for word in absent:
        assert word not in f"{words.title} {words.body}".lower()


def test_code_follows_its_sentence_with_remedy() -> None:
    figures = {"name": "Leverage", "value": "1032.5", "maximum": "30"}
    words = render(event("order.denied", code="MAX_LEVERAGE", figures=figures))
    assert words.body.splitlines() == [
        Code.MAX_LEVERAGE.sentence,
        "Leverage: 1,032.5, maximum 30.",
        Code.MAX_LEVERAGE.hint,
        "Code MAX_LEVERAGE",
        "Nothing was sent to the broker.",
        "MT5 · 7714, S-2041.",
    ]


def test_closed_position_message_has_net_result() -> None:
    facts = {**FACTS, "currency": "EUR"}
    words = render(
        event("position.closed", facts=facts, pnl="-45.90", commission="2.50", reason="sl")
    )
    assert words.title == "Closed with −48.40 EUR: Buy 10,000 EUR/USD"
    assert words.body.startswith("The stop loss was hit.\nCommission 2.50 EUR, part of the result.")


def test_message_of_changed_levels_names_no_broker() -> None:
    payload: dict[str, Any] = {"stop_loss": "1.092", "old_stop_loss": "1.09", "by": "alice"}
    message = render(event("order.changed", facts=FACTS, **payload))
    assert message.title.startswith("Changed: ")
    assert "Stop loss 1.09 to 1.092." in message.body
    payload |= {"limit_price": "1.1", "old_limit_price": "1.2"}
    assert "Changed at the broker" in render(event("order.changed", facts=FACTS, **payload)).title


def test_message_of_a_time_exit_says_so() -> None:
    words = render(event("position.closed", facts=FACTS, pnl="1", reason="time_exit"))
    assert words.body.startswith("Its closing time came.")


def test_exit_message_names_its_leg() -> None:
    facts = {**FACTS, "leg": "tp-1"}
    assert render(event("order.filled", facts=facts)).title == "Filled: Buy 10,000 EUR/USD (tp-1)"


def test_unknown_values_are_omitted() -> None:
    bare = EventContext(1, "order.filled", 1, None, None, None, {}, AT)
    assert render(bare).title == "Filled: order"
    assert render(bare).body == ""


@pytest.mark.parametrize(
    ("change", "title"),
    [("set", "Kill switch set: exits only"), ("released", "Kill switch released")],
)
def test_kill_switch_message(change: str, title: str) -> None:
    words = render(
        event("kill_switch.changed", change=change, mode="REDUCING", scope="ALL", reason="News.")
    )
    assert words.title == title
    assert words.body.startswith("For all accounts.\nNews.")


def test_digest_counts_events_most_severe_first() -> None:
    many = [event("order.filled", number=n) for n in range(12)]
    words = render_digest(
        [*many, event("order.unknown"), event("order.denied"), event("order.denied")]
    )
    assert words.title == "1 order unknown, 2 orders denied by us, 12 orders filled: S-2041"
    lines = words.body.splitlines()
    assert lines[0] == "Unknown: Buy 10,000 EUR/USD · MT5 · 7714"
    assert (len(lines), lines[-1]) == (11, "… and 5 more.")


def test_orders_ended_while_waiting_count_as_not_sent() -> None:
    waited = [event("order.denied", number=n, code="BROKER_HOST_DOWN") for n in range(3)]
    expired = event("order.expired", code="BROKER_HOST_DOWN")
    words = render_digest([*waited, expired, event("order.denied", code="MAX_LEVERAGE")])
    assert words.title == "1 order denied by us, 4 orders not sent in time: S-2041"
    code = f"BROKER_HOST_DOWN: {ENDED_WAITS[Code.BROKER_HOST_DOWN].sentence.rstrip('.')}"
    assert words.body.splitlines()[1] == f"Not sent: Buy 10,000 EUR/USD · {code} · MT5 · 7714"
    assert "if the signal is not too old by then" not in render(waited[0]).body


ODD = [
    None, True, 0, -1, 10**40, "", " ", "x" * 500, "\n", "NaN", "-Infinity", "1e999", "1_000", "-0",
    "１２", "UNKNOWN", "MAX_LEVERAGE", [], ["x"], {}, {"a": 1}, {"DUP": "x"}, [{"b": [None]}],
]  # fmt: skip
NAMES = [
    "code",
    "detail",
    "pnl",
    "commission",
    "counters",
    "slippage_pips",
    "mode",
    "reason",
    "kind",
    "trade",
    "signal",
]


@given(
    st.sampled_from(list(EventKind)), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(ODD))
)
def test_no_payload_breaks_rendering(kind: str, payload: dict[str, Any]) -> None:
    made = EventContext(1, kind, 1, None, None, None, payload, AT)
    words = render_digest([made, made])
    assert 0 < len(words.title) <= 200
    assert render(made).title.strip()


ORDER = {
    **FACTS, "limit_price": "1.084", "expected_price": "1.0845", "trade_plan_id": "plan-7",
}  # fmt: skip
FIGURES = {"name": "Slippage", "value": "4.2", "maximum": "3"}
REFUSED = ("order.denied", "order.skipped", "order.rejected", "order.failed", "order.unknown",
           "order.expired", "order.cancelled", "order.stuck")  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_of_every_code_carry_the_order_and_the_limit(kind: str) -> None:
    for code in Code:
        words = render(event(kind, facts=ORDER, code=code.value, figures=FIGURES))
        text = f"{words.title}\n{words.body}"
        for part in ("Buy", "10,000", "EUR/USD", "1.084", "1.0845", "plan-7", "S-2041", code.value):
            assert part in text, f"{part} is missing in {text}"
        assert "Slippage: 4.2, maximum 3" in text, text
        assert "None" not in text.replace(code.sentence, "").replace(code.hint, "")


@pytest.mark.parametrize("kind", ["order.filled", "order.partially_filled"])
def test_fills_carry_price_slippage_and_plan(kind: str) -> None:
    facts = {**ORDER, "price": "1.0846", "slippage": "0.1", "slippage_unit": "PIPS"}
    words = render(event(kind, facts=facts))
    text = f"{words.title}\n{words.body}"
    for part in ("Buy 10,000 EUR/USD", "1.0846", "+0.1", "plan-7"):
        assert part in text


@pytest.mark.parametrize(
    ("kind", "payload", "parts"),
    [
        ("order.placed", {"broker_order_id": "B7"}, ["1.084", "B7"]),
        ("position.unprotected", {"seconds": "12"}, []),
        ("exit.delayed", {"code": "MARKET_CLOSED"}, ["MARKET_CLOSED"]),
        (
            "slippage.alert",
            {"slippage": "4.2", "slippage_unit": "PIPS", "expected_price": "1.0845",
             "fill_price": "1.0849", "passed_limit": "1.0848", "beyond_limit_at": "1.0849"},
            ["+4.2", "1.0849", "1.0848"],
        ),
    ],
)  # fmt: skip
def test_risks_carry_the_trade_and_the_plan(
    kind: str, payload: dict[str, Any], parts: list[str]
) -> None:
    words = render(event(kind, facts=ORDER, **payload))
    text = f"{words.title}\n{words.body}"
    for part in ("Buy 10,000 EUR/USD", "plan-7", *parts):
        assert part in text


@pytest.mark.parametrize(
    ("feed", "title", "closed", "resumed"),
    [
        ("", "Loss limit reached: entries are paused", "All open positions are being closed.",
         "Entries resume after a loss limit"),
        ("majors", "Loss limit reached: entries of the feed majors are paused",
         "All open positions of the feed majors are being closed.",
         "Entries of the feed majors resume after a loss limit"),
    ],
)  # fmt: skip
def test_loss_limit_says_what_it_pauses_and_closes(
    feed: str, title: str, closed: str, resumed: str
) -> None:
    reached = render(event("loss_limit.reached", action="PAUSE_AND_CLOSE", feed=feed))
    assert title in reached.title
    assert closed in reached.body
    assert resumed in render(event("trading.resumed", feed=feed)).title


def test_reached_loss_limit_carries_limit_and_value() -> None:
    words = render(event("loss_limit.reached", detail="Loss today: 512 EUR, maximum 500 EUR"))
    assert "512" in words.body
    assert "500" in words.body
