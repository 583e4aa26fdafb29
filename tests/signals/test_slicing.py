"""An execution style at every entry point: all faults at once, and no entry without its fields."""

import json
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from common.clocks import market_now
from common.errors import InvalidInputError
from common.reason_codes import Code
from signals.models import Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.reading.errors import field_errors
from signals.reading.intake import read_signal
from tests.connections import make

TWAP: dict[str, Any] = {"execution_style": "TWAP", "duration_seconds": 600, "slice_count": 6}


def read(**fields: Any) -> SignalDraft:
    return read_signal(json.dumps({"symbol": "EURUSD", "direction": "BUY", **fields}).encode())


def faults(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputError) as caught:
        read(**fields)
    return [(error.field, error.code.value) for error in field_errors(caught.value)]


def test_all_fields_are_read() -> None:
    draft = read(**TWAP, slice_variation="20", price_limit="1.105", catch_up="skip",
                 at_end="market", sl="1.09")  # fmt: skip
    assert (draft.execution_style, draft.duration_seconds, draft.slice_count) == ("TWAP", 600, 6)
    assert (draft.slice_variation, draft.price_limit) == (D(20), D("1.105"))
    assert (draft.catch_up, draft.at_end) == ("SKIP", "MARKET")


def test_draft_without_a_style_keeps_its_digest() -> None:
    """Alerts are recognised by it: an upgrade must not make a repeated one a new one."""
    fields = SignalDraft(pair="EUR/USD").digest()
    assert fields == SignalDraft(pair="EUR/USD", execution_style="", slice_count=None).digest()
    assert fields != SignalDraft(pair="EUR/USD", execution_style="TWAP").digest()


def test_all_faults_at_once() -> None:
    assert faults(
        execution_style="TWAP", slice_variation="51", order_type="LIMIT", open_price="1.1",
        time_in_force="IOC", sl="1.09", price_limit="1.08",
    ) == [
        ("order_type", Code.FIELD_INVALID),
        ("time_in_force", Code.FIELD_INVALID),
        ("duration_seconds", Code.FIELD_REQUIRED),
        ("slice_count", Code.FIELD_REQUIRED),
        ("slice_variation", Code.FIELD_INVALID),
        ("price_limit", Code.FIELD_INVALID),
    ]  # fmt: skip


def test_unreadable_field_hides_no_other_fault() -> None:
    assert faults(
        execution_style="TWAP", duration_seconds="ten", order_type="LIMIT", open_price="1.1"
    ) == [
        ("duration_seconds", Code.FIELD_INVALID),
        ("order_type", Code.FIELD_INVALID),
        ("slice_count", Code.FIELD_REQUIRED),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"duration_seconds": 59}, "duration_seconds"),
        ({"duration_seconds": 86_401}, "duration_seconds"),
        ({"slice_count": 1}, "slice_count"),
        ({"slice_count": 101}, "slice_count"),
        ({"execution_style": "ICEBERG"}, "execution_style"),
        ({"execution_style": None, "slice_count": None}, "duration_seconds"),
        ({"valid_for": 599}, "valid_for"),
        ({"close_after_seconds": 599}, "close_after_seconds"),
        ({"price_limit": "1.09", "sl": "1.09"}, "price_limit"),
        ({"catch_up": "LATER"}, "catch_up"),
        ({"at_end": "LIMIT"}, "at_end"),
    ],
)
def test_wrong_value_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    assert [name for name, _ in faults(**{**TWAP, **changes})] == [field]


@pytest.mark.parametrize("number", [1, 101, "x"])
def test_wrong_number_of_slices_states_its_range(number: int | str) -> None:
    with pytest.raises(InvalidInputError, match="is not a whole number from 2 to 100"):
        read(**{**TWAP, "slice_count": number})


@pytest.mark.parametrize(
    "changes",
    [
        {"duration_seconds": 60},
        {"valid_for": 600},
        {"close_after_seconds": 600},
        {"slice_variation": "50"},
    ],
)
@pytest.mark.parametrize("style", ["TWAP", "VWAP"])
def test_edges_are_accepted(style: str, changes: dict[str, Any]) -> None:
    assert read(**{**TWAP, **changes, "execution_style": style}).execution_style == style


def test_style_is_only_for_open() -> None:
    fields = {"action": "CLOSE", "refers_to": 1, "symbol": None, "direction": None}
    assert {name for name, _ in faults(**TWAP, **fields)} == set(TWAP)


@pytest.fixture
def feed(db: None) -> Feed:
    return make.feed()


def test_valid_until_before_the_end_is_refused(feed: Feed) -> None:
    draft = read(**TWAP, valid_until=(market_now() + timedelta(seconds=599)).isoformat())
    with pytest.raises(InvalidInputError) as caught:
        save_draft(feed, draft, origin=Origin.API, by=None)
    assert caught.value.field == "valid_until"


def test_alert_is_valid_until_its_last_slice(feed: Feed) -> None:
    sent_at = market_now()
    draft = read(**TWAP, time=sent_at.isoformat())
    signal, _ = save_draft(feed, draft, origin=Origin.ALERT, by=None)
    assert signal.valid_until is not None
    left = signal.valid_until - sent_at
    assert timedelta(seconds=655) < left <= timedelta(seconds=660)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": "LIMIT", "open_price": D(1)}, {"time_in_force": "IOC"},
        {"slice_count": None}, {"duration_seconds": None}, {"slice_count": 1},
        {"slice_variation": D(51)}, {"price_limit": D(0)}, {"execution_style": ""},
    ],
)  # fmt: skip
def test_database_refuses_what_the_entry_points_refuse(feed: Feed, changes: dict[str, Any]) -> None:
    values = {"currency_pair": "EUR/USD", "direction": "BUY", **TWAP}
    Signal.objects.create(feed=feed, **values)
    with pytest.raises(IntegrityError), transaction.atomic():
        Signal.objects.create(feed=feed, **{**values, **changes})
