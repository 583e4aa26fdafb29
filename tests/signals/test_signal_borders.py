"""Signals and alerts at their borders: an end, a window of repetitions, one time of sending."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from alerts.carry_out.sequence import known_signal, late_entry
from common.clocks import market_now, set_market_clock
from common.errors import FillcastError
from signals import services
from signals.models import Action, Direction, Feed, Origin, ReceivedAlert, Signal
from signals.publishing.drafts import store_draft
from signals.publishing.ingest import save_draft
from signals.reading.draft import SignalDraft
from signals.reading.ends import REPLAY_WINDOW, end_errors, valid_until_of
from tests.analytics.trading_days import INSTANT, stop_clock
from tests.connections import make

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
NOTHING, MINUTE = timedelta(0), timedelta(minutes=1)
BUY = SignalDraft(pair="EUR/USD", direction=Direction.BUY)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Market time is noon and stands."""
    stop_clock(NOON)
    yield
    set_market_clock(None)


@pytest.mark.parametrize(
    ("left", "code"), [(-INSTANT, "SIGNAL_ENDED"), (NOTHING, "SIGNAL_ENDED"), (INSTANT, "")]
)
def test_signal_is_published_until_before_its_end(left: timedelta, code: str) -> None:
    signal = make.signal(make.feed(), valid_until=NOON + left)
    try:
        assert services.publish(signal.pk, by=None)
    except FillcastError as error:
        found = str(error.code)
    else:
        found = ""
    assert found == code


@pytest.mark.parametrize("name", ["valid_until", "close_at"])
@pytest.mark.parametrize(("left", "errors"), [(NOTHING, 1), (INSTANT, 0)])
def test_draft_that_has_ended_is_refused(name: str, left: timedelta, errors: int) -> None:
    draft = replace(BUY, **{name: NOON + left})  # type: ignore[arg-type]
    found = list(end_errors(draft, Origin.API, NOON, ()))
    assert [error.field for error in found] == [name] * errors
    assert valid_until_of(draft, Origin.API, NOON) == NOON + left


@pytest.mark.parametrize(("later", "is_new"), [(-INSTANT, False), (NOTHING, True), (INSTANT, True)])
def test_equal_alert_without_a_time_is_the_same_within_the_window(
    later: timedelta, is_new: bool
) -> None:
    feed = make.feed()
    first, _ = save_draft(feed, BUY, origin=Origin.ALERT, by=None)
    received = first.created_at + REPLAY_WINDOW + later
    again = save_draft(feed, BUY, origin=Origin.ALERT, by=None, received_at=received)
    assert again[1] is is_new
    other = save_draft(make.feed(), BUY, origin=Origin.ALERT, by=None)
    assert other[1], "each feed has its own"


@pytest.mark.parametrize(
    ("has_time", "later", "is_known"),
    [(False, -INSTANT, True), (False, NOTHING, False), (True, NOTHING, True)],
)
def test_text_is_known_within_the_window_or_by_its_time(
    has_time: bool, later: timedelta, is_known: bool
) -> None:
    feed = make.feed()
    signal = make.signal(feed)
    received(feed, key="k", signal_ids=[signal.pk])
    at = NOON + REPLAY_WINDOW + later
    found = known_signal(feed, "k", received_at=at, has_time=has_time)
    assert found == (signal if is_known else None)
    assert known_signal(make.feed(), "k", received_at=NOON, has_time=True) is None


def received(feed: Feed, **fields: Any) -> None:
    ReceivedAlert.objects.create(
        **{
            "feed": feed, "received_at": NOON, "key": "x", "pair": "EUR/USD", "change": "close",
            "ended_side": "BOTH", "summary": "", "signal_ids": [], **fields,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "is_late"),
    [
        ({"sent_at": NOON}, False),  # sent with it: neither has overtaken the other
        ({"sent_at": NOON + INSTANT}, True),
        ({"sent_at": NOON - INSTANT}, False),
        ({"sent_at": NOON + MINUTE, "pair": ""}, True),  # a close of everything
        ({"sent_at": NOON + MINUTE, "pair": "XAU/USD"}, False),
        ({"sent_at": NOON + MINUTE, "ended_side": "BUY"}, True),
        ({"sent_at": NOON + MINUTE, "ended_side": "SELL"}, False),
        ({"sent_at": None}, False),
    ],
)
def test_entry_is_late_if_a_later_alert_ended_its_side(
    fields: dict[str, Any], is_late: bool
) -> None:
    feed = make.feed()
    received(feed, **fields)
    draft = SignalDraft(pair="EUR/USD", direction=Direction.BUY, sent_at=NOON)
    assert (late_entry(feed, draft) is not None) is is_late
    assert late_entry(make.feed(), draft) is None, "of another feed"
    unknown = SignalDraft(pair="EUR/USD", direction=Direction.BUY)
    assert late_entry(feed, unknown) is None, "it states no time"


def test_equal_modification_is_new_after_another_one() -> None:
    """What sets a stop back to where it was is no repetition."""
    feed = make.feed()
    opened = make.signal(feed, published_at=market_now())
    drafts = [
        SignalDraft(action=Action.MODIFY, refers_to=opened.pk, sl=sl)
        for sl in (D("1.1"), D("1.1"), D("1.2"), D("1.1"))
    ]
    new = [save_draft(feed, one, origin=Origin.ALERT, by=None)[1] for one in drafts]
    assert new == [True, False, True, True]
    assert Signal.objects.filter(refers_to=opened).count() == 3


def test_drafts_of_new_trades_are_limited_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("signals.publishing.drafts.MAX_OPEN", 2)
    feed = make.feed()

    def store(action: Action) -> str:
        try:
            store_draft(feed.pk, action=action, body={"note": action}, by=feed.owner)
        except FillcastError as error:
            return str(error.code)
        return "stored"

    found = [store(action) for action in (Action.OPEN, Action.OPEN, Action.OPEN, Action.CLOSE)]
    assert found == ["stored", "stored", "STATE_CONFLICT", "stored"]
