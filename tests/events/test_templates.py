"""Texts of messages that an installation has changed."""

from typing import Any

import pytest

from common.errors import InvalidInputError
from common.models import SettingsVersion
from common.operational import current, store
from common.operational.document import Document, Messages
from common.operational.kinds import MessageText
from common.permissions import Role
from events import settings_upkeep
from events.context import EventContext
from events.messages import built_in_message, render, render_digest
from events.messages.templates import KINDS, example_of, fault_of, own_text, placeholders_of
from events.models import Event, EventKind
from tests.events.test_messages import event
from tests.operational import set_setting
from tests.roles import staff

FILLED: dict[str, Any] = {"avg_fill_price": "1.1002", "slippage_pips": "0.3"}
SPECIFIED = {  # the three of the specification
    "order.placed": {"title": "Order placed: {side} {quantity} {symbol}", "body": "{account}"},
    "order.filled": {"title": "Order filled at {price}", "body": "{trade}\nSlippage {slippage}"},
    "order.failed": {"title": "Order failed: {reason}", "body": "{advice}\n{trade_plan_id}"},
}


def texts(**of: tuple[str, str]) -> None:
    """Put texts into force, by kind with _ for the dot."""
    made = {kind.replace("_", ".", 1): MessageText(*text) for kind, text in of.items()}
    set_setting("messages.texts", made)


@pytest.fixture
def administrator(db: None) -> Any:
    return staff(Role.ADMINISTRATOR, name="root")


@pytest.fixture
def no_alerts(db: None) -> None:
    Event.objects.all().delete()


def alerts() -> list[dict[str, Any]]:
    return list(Event.objects.filter(kind="settings.refused").values_list("payload", flat=True))


def test_own_text_replaces_title_and_body() -> None:
    texts(order_filled=("{account}: {trade}", "At {price}, {slippage}\nOrder {order_id}"))
    words = render(event("order.filled", **FILLED))
    assert words.title == "MT5 · 7714: Buy 10,000 EUR/USD"
    assert words.body == "At 1.1002, +0.3 pips\nOrder 42"


def test_message_without_own_text_stays_as_it_is() -> None:
    texts(order_filled=("x", ""))
    placed = event("order.placed")
    assert render(placed) == built_in_message(placed)


def test_line_without_any_known_fact_is_left_out() -> None:
    texts(order_filled=("Filled", "Plan {trade_plan_id}\nFixed line\nAt {price} {trade_plan_id}"))
    assert render(event("order.filled", **FILLED)).body == "Fixed line\nAt 1.1002 "


def test_built_in_text_is_a_placeholder() -> None:
    texts(order_filled=("ACME: {title}", "{text}\nCall 555."))
    made = event("order.filled", **FILLED)
    plain, words = built_in_message(made), render(made)
    assert words.title == f"ACME: {plain.title}"
    assert words.body == f"{plain.body}\nCall 555."


def test_braces_in_facts_are_no_placeholders() -> None:
    texts(order_rejected=("{detail}", "{{literal}}"))
    words = render(event("order.rejected", detail="{account} {"))
    assert (words.title, words.body) == ("{account} {", "{literal}")


def test_title_of_several_lines_becomes_one() -> None:
    texts(order_rejected=("{detail}", ""))
    assert render(event("order.rejected", detail="one\ntwo")).title == "one two"


def test_paper_twin_keeps_its_mark() -> None:
    texts(order_filled=("{title}", ""))
    facts = {"trade": "Buy", "twin": "1"}
    assert render(event("order.filled", facts=facts)).title == "Paper twin: Filled: Buy"


def test_digest_counts_by_built_in_texts() -> None:
    texts(order_filled=("own", ""))
    both = [event("order.filled", number=number, **FILLED) for number in (1, 2)]
    assert render_digest(both).title == "2 orders filled: S-2041"
    assert render_digest(both[:1]).title == "own"


def test_digest_lines_have_the_own_texts() -> None:
    texts(order_filled=("Desk: {trade}", "at {price}\nPlan {trade_plan_id}\nCall 555."))
    made = [
        event("order.filled", number=1, **FILLED),
        event("order.denied", number=2, code="MAX_LEVERAGE"),
    ]
    lines = render_digest(made).body.split("\n")
    assert "Desk: Buy 10,000 EUR/USD · at 1.1002 · Call 555." in lines
    assert any("MAX_LEVERAGE" in line for line in lines)


def test_digest_line_of_a_paper_twin_keeps_its_mark() -> None:
    texts(order_filled=("{trade}", "own"))
    facts = {"trade": "Buy", "twin": "1"}
    made = [event("order.filled", number=number, facts=facts) for number in (1, 2)]
    assert render_digest(made).body == "Paper twin: Buy · own\nPaper twin: Buy · own"


def test_digest_line_is_the_built_in_one_if_the_own_text_cannot_be_used() -> None:
    made = [event("order.filled", number=number, **FILLED) for number in (1, 2)]
    built_in = render_digest(made)
    texts(order_filled=("{no_such_fact}", "own"))
    assert render_digest(made) == built_in


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_an_example_with_all_its_placeholders(kind: str) -> None:
    made = example_of(kind)
    names = placeholders_of(kind)
    own = MessageText("{title}", "\n".join(f"{name}={{{name}}}" for name in names))
    built_in = built_in_message(made)
    words = own_text(made, built_in.title, built_in.body, own=own)
    assert words is not None
    assert words.title == built_in.title


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{acount}", "Unknown: {acount}. This message has {title}, {text}, {account}"),
        ("{result}", "Unknown: {result}."),  # of closed positions only
        ("{account", "A { has no }, or a } has no {. Write {{ or }} for a brace itself."),
        ("}", "A { has no }, or a } has no {."),
        ("{account.__class__}", "is not a placeholder"),
        ("{account!r}", "is not a placeholder"),
        ("{price:>99999999}", "is not a placeholder"),
        ("{}", "is not a placeholder"),
        ("{0}", "is not a placeholder"),
    ],
)
def test_invalid_text_is_named_with_what_to_write(text: str, fault: str) -> None:
    assert fault in fault_of("order.filled", text)


def test_valid_text_has_no_fault() -> None:
    assert fault_of("order.filled", "{{ {account} }}") == ""
    assert fault_of("position.closed", "{result} {currency}") == ""


def test_invalid_text_is_not_stored(administrator: Any) -> None:
    given = {
        "order.filled": {"title": "{nothing}", "body": "{account"},
        "order.lost": {"title": "x", "body": ""},
    }
    with pytest.raises(InvalidInputError) as error:
        store.save({"messages": {"texts": given}}, by=administrator, why="x", origin="console")
    faults = [one.field for one in (error.value, *error.value.others)]
    assert faults == [
        "messages.texts.order.filled.title",
        "messages.texts.order.filled.body",
        "messages.texts.order.lost",
    ]
    assert not SettingsVersion.objects.exists()


@pytest.mark.parametrize(
    "given",
    [
        [],
        {"order.filled": "text"},
        {"order.filled": {"title": "x"}},
        {"order.filled": {"title": " ", "body": ""}},
        {"order.filled": {"title": "x", "body": 3}},
        {"order.filled": {"title": "x" * 201, "body": ""}},
        {"order.filled": {"title": "x", "body": "y" * 4001}},
        {"order.filled": {"title": "x\0", "body": ""}},
    ],
)
def test_text_of_another_shape_is_refused(administrator: Any, given: object) -> None:
    with pytest.raises(InvalidInputError) as error:
        store.save({"messages": {"texts": given}}, by=administrator, why="x", origin="console")
    assert error.value.field == "messages.texts"


@pytest.mark.usefixtures("inline_commits")
def test_texts_of_the_specification_are_stored_and_sent(administrator: Any) -> None:
    store.save({"messages": {"texts": SPECIFIED}}, by=administrator, why="Ours.", origin="console")
    facts = {"account": "MT5 · 7714", "trade": "Buy 10,000 EUR/USD", "side": "BUY",
             "quantity": "10000", "symbol": "EUR/USD"}  # fmt: skip
    placed = render(event("order.placed", facts=facts))
    assert (placed.title, placed.body) == ("Order placed: BUY 10000 EUR/USD", "MT5 · 7714")
    filled = render(event("order.filled", **FILLED))
    assert filled.body == "Buy 10,000 EUR/USD\nSlippage +0.3 pips"
    failed = render(event("order.failed", code="NEVER_ARRIVED"))
    assert failed.title.startswith("Order failed: ")
    assert failed.body.count("\n") == 0  # the plan is not known


@pytest.mark.usefixtures("inline_commits", "no_alerts")
def test_broken_text_costs_no_message_and_raises_one_alarm() -> None:
    """Another release, or a person by SQL, has written it."""
    document = store.document_of(None)
    document["messages"]["texts"] = {
        "order.filled": {"title": "{of_a_later_release}", "body": ""},
        "order.placed": {"title": "Fine: {trade}", "body": ""},
        "order.teleported": {"title": "x", "body": ""},
    }
    document["execution"]["poll_seconds"] = 1
    SettingsVersion.objects.create(id=1, document=document, origin="console", why="by SQL")
    current.refresh()
    assert current.settings_now().execution.poll_seconds == 1  # nothing else is lost
    made = event("order.filled", **FILLED)
    assert render(made) == built_in_message(made)
    assert render(event("order.placed")).title == "Fine: Buy 10,000 EUR/USD"
    for _ in range(2):
        settings_upkeep.run()
    [payload] = alerts()
    assert [fault.partition(":")[0] for fault in payload["faults"]] == [
        "messages.texts.order.filled.title", "messages.texts.order.teleported",
    ]  # fmt: skip
    words = built_in_message(event("settings.refused", **payload))
    assert words.title == "A text of messages of version 1 is refused"
    assert words.body.startswith("These messages are sent with their built-in texts.")


def test_unread_settings_cost_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def unread() -> Document:
        raise current.SettingsUnreadError("not yet")

    monkeypatch.setattr("events.messages.templates.settings_now", unread)
    made = event("order.filled", **FILLED)
    assert render(made) == built_in_message(made)


def test_title_without_any_known_fact_is_the_built_in_one() -> None:
    texts(order_filled=("{trade_plan_id}", "x"))
    made = event("order.filled", **FILLED)
    assert (render(made).title, render(made).body) == (built_in_message(made).title, "x")


def test_default_is_no_text_at_all() -> None:
    assert Messages().texts == {}
    assert isinstance(example_of(EventKind.ORDER_FILLED), EventContext)


def test_closed_position_has_no_placeholders_of_an_order() -> None:
    """Its event names none: a text with them would have holes."""
    assert "Unknown: {price}" in fault_of("position.closed", "{symbol} closed at {price}")
    assert fault_of("position.opened", "{symbol} opened at {price}") == ""
    assert fault_of("order.filled", "{trade} at {price}, {broker_order_id}") == ""
