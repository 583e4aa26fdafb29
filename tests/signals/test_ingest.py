"""Ingesting signals: stored once, recognised again, and never in part."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from signals.models import Approval, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.ends import REPLAY_WINDOW
from signals.reading.intake import read_signal
from tests.examples import examples
from users.models import User

OPEN = {"symbol": "EURUSD", "direction": "BUY", "open_price": "1.3860", "sl": "1.38", "tp": "1.40"}


def save(to: Feed, *, origin: Origin = Origin.API, **changes: Any) -> tuple[Signal, bool]:
    draft = read_signal(json.dumps({**OPEN, **changes}).encode())
    return save_draft(to, draft, origin=origin, by=to.owner)


def save_follow_up(feed: Feed, **fields: Any) -> Signal:
    return save_draft(
        feed, read_signal(json.dumps(fields).encode()), origin=Origin.API, by=feed.owner
    )[0]


def test_all_fields_of_a_signal_are_stored(feed: Feed) -> None:
    before = market_now()
    signal, created = save(
        feed,
        direction="SELL",
        order_type="LIMIT",
        sl="1.39",
        tp=None,
        targets=[{"price": "1.36", "fraction": "0.4"}, {"price": "1.37", "fraction": "0.6"}],
        valid_for=90,
        external_id="e-1",
        note="n",
    )
    signal.refresh_from_db()
    assert created
    assert signal.targets == [
        (Decimal("1.37"), Decimal("0.6")),
        (Decimal("1.36"), Decimal("0.4")),
    ]  # in the order in which the price reaches them
    assert (signal.currency_pair, signal.direction, signal.order_type) == (
        "EUR/USD",
        "SELL",
        "LIMIT",
    )
    assert signal.valid_until is not None
    assert before <= signal.valid_until - timedelta(seconds=90) <= market_now()
    assert (signal.external_id, signal.note, signal.origin) == ("e-1", "n", Origin.API)
    assert signal.created_by == feed.owner
    assert signal.published_at is None


def test_approval_depends_on_the_feed(feed: Feed, unapproved: Feed) -> None:
    assert save(feed)[0].approval == Approval.APPROVED
    assert save(unapproved)[0].approval == Approval.PENDING


@pytest.mark.django_db(transaction=True)
def test_repeated_external_id_is_the_same_signal(feed: Feed, unapproved: Feed) -> None:
    first, created = save(feed, external_id="e", sl="1.3800", valid_for=60)
    again, created_again = save(feed, external_id="e", sl=1.38, valid_for=60)
    assert (created, created_again, again.pk) == (True, False, first.pk)
    elsewhere, created_elsewhere = save(unapproved, external_id="e")
    assert created_elsewhere
    assert elsewhere.pk != first.pk


def test_repeated_signal_is_recognised_after_its_validity(feed: Feed) -> None:
    first, _ = save(feed, external_id="e", valid_for=1)
    Signal.objects.filter(pk=first.pk).update(valid_until=market_now() - timedelta(hours=1))
    assert save(feed, external_id="e", valid_for=1) == (first, False)


def test_other_content_with_the_same_external_id_is_a_conflict(feed: Feed) -> None:
    first, _ = save(feed, external_id="e")
    with pytest.raises(ConflictError) as caught:
        save(feed, external_id="e", sl="1.37")
    assert caught.value.code == Code.DUPLICATE_SIGNAL
    assert list(Signal.objects.values_list("pk", "sl")) == [(first.pk, Decimal("1.38"))]


def test_alert_without_id_is_recognised_by_content_in_the_window(feed: Feed) -> None:
    first, created = save(feed, origin=Origin.ALERT)
    assert created
    assert save(feed, origin=Origin.ALERT) == (first, False)
    assert save(feed, origin=Origin.ALERT, time="2099-01-01T00:00:00Z")[1]  # of another bar
    Signal.objects.update(created_at=market_now() - REPLAY_WINDOW - timedelta(seconds=1))
    assert save(feed, origin=Origin.ALERT)[1]


def test_equal_manual_signals_are_two(feed: Feed) -> None:
    assert save(feed)[1]
    assert save(feed)[1]


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"valid_until": "2020-01-01T00:00:00Z"}, Code.SIGNAL_ENDED, "valid_until"),
        ({"feed": "another"}, Code.FIELD_INVALID, "feed"),
    ],
)
def test_signal_with_wrong_feed_or_past_validity_is_rejected(
    feed: Feed, changes: dict[str, Any], code: Code, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        save(feed, **changes)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert not Signal.objects.exists()


def test_archived_feed_accepts_no_signals(feed: Feed) -> None:
    Feed.objects.update(archived_at=market_now())
    with pytest.raises(InvalidInputError) as caught:
        save(feed)
    assert caught.value.code == Code.FEED_UNKNOWN
    assert not Signal.objects.exists()


def test_follow_up_inherits_symbol_and_side(feed: Feed) -> None:
    opened, _ = save(feed, external_id="o")
    by_name = save_follow_up(feed, action="CLOSE", refers_to_external_id="o", close_fraction="0.5")
    by_id = save_follow_up(feed, action="MODIFY", refers_to=opened.pk, sl="1.39", tp="1.41")
    assert by_name.refers_to == by_id.refers_to == opened
    assert (by_name.currency_pair, by_name.direction) == ("EUR/USD", "BUY")
    assert by_name.close_fraction == Decimal("0.5")
    assert (by_id.sl, by_id.tp) == (Decimal("1.39"), Decimal("1.41"))  # a stop may pass the entry


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"action": "CLOSE", "refers_to": 10**9}, Code.REFERENCE_REQUIRED, "refers_to"),
        (
            {"action": "CLOSE", "refers_to_external_id": "?"},
            Code.REFERENCE_REQUIRED,
            "refers_to_external_id",
        ),
        (
            {"action": "CLOSE", "refers_to_external_id": "close"},
            Code.REFERENCE_REQUIRED,
            "refers_to_external_id",
        ),
        (
            {"action": "CLOSE", "refers_to_external_id": "o", "symbol": "USDJPY"},
            Code.FIELD_INVALID,
            "symbol",
        ),
        (
            {"action": "CLOSE", "refers_to_external_id": "o", "direction": "SELL"},
            Code.FIELD_INVALID,
            "direction",
        ),
        (
            {"action": "MODIFY", "refers_to_external_id": "o", "sl": "1.4", "tp": "1.39"},
            Code.TARGET_WRONG_SIDE,
            "targets",
        ),
    ],
)
def test_follow_up_must_match_its_reference(
    feed: Feed, fields: dict[str, Any], code: Code, field: str
) -> None:
    save(feed, external_id="o")
    save_follow_up(feed, action="CLOSE", refers_to_external_id="o", external_id="close")
    with pytest.raises(InvalidInputError) as caught:
        save_follow_up(feed, **fields)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert Signal.objects.count() == 2


def test_follow_up_cannot_refer_to_another_feed(feed: Feed, unapproved: Feed) -> None:
    opened, _ = save(feed, external_id="o")
    with pytest.raises(InvalidInputError) as caught:
        save_follow_up(unapproved, action="CLOSE", refers_to=opened.pk)
    assert caught.value.code == Code.REFERENCE_REQUIRED


prices = st.sampled_from([None, "1", "1.5", "2", "2.5"])


@settings(max_examples=examples(80), suppress_health_check=list(HealthCheck))
@given(
    action=st.sampled_from(["OPEN", "MODIFY", "CLOSE"]),
    direction=st.sampled_from(["BUY", "SELL"]),
    order_type=st.sampled_from([None, "LIMIT", "STOP", "STOP_LIMIT", "MARKET"]),
    open_price=prices,
    stop_price=prices,
    sl=prices,
    tp=prices,
)
def test_database_accepts_every_signal_that_validation_accepts(feed: Feed, **fields: Any) -> None:
    """The parser and the database's constraints have the same rules."""
    opened = Signal.objects.create(feed=feed, currency_pair="EUR/USD", direction="BUY")
    given_fields = {name: value for name, value in fields.items() if value is not None}
    if fields["action"] != "OPEN":
        given_fields["refers_to"] = opened.pk
    try:
        save_draft(
            feed,
            read_signal(json.dumps({"symbol": "EURUSD", **given_fields}).encode()),
            origin=Origin.API,
            by=None,
        )
    except InvalidInputError:
        pass
    except IntegrityError as error:
        pytest.fail(f"{given_fields}: {error}")


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """Start all actions together, each with its own thread and connection; return the results.

    The result of an action that raises is its exception.
    """
    start = threading.Barrier(len(actions))
    results: list[Any] = [None] * len(actions)

    def run(number: int, action: Callable[[], Any]) -> None:
        try:
            start.wait(60)
            results[number] = action()
        except Exception as error:  # any: it is the result
            results[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", [{"external_id": "e"}, {}])
def test_concurrent_equal_signals_are_one_row(name: dict[str, Any]) -> None:
    feed = Feed.objects.create(
        slug="race", name="Race", owner=User.objects.create_user("p"), is_approved=True
    )
    for _ in range(5):
        Signal.objects.all().delete()
        results = at_once(*[lambda: save(feed, origin=Origin.ALERT, **name)] * 4)
        assert sorted(created for _, created in results) == [False, False, False, True]
        assert {signal.pk for signal, _ in results} == {Signal.objects.get().pk}


@pytest.mark.django_db(transaction=True)
def test_concurrent_different_signals_are_one_row_and_a_conflict() -> None:
    feed = Feed.objects.create(slug="race", name="Race", owner=User.objects.create_user("p"))
    results = at_once(
        lambda: save(feed, external_id="e"), lambda: save(feed, external_id="e", sl="1.37")
    )
    conflicts = [result for result in results if isinstance(result, ConflictError)]
    assert [error.code for error in conflicts] == [Code.DUPLICATE_SIGNAL]
    assert Signal.objects.count() == 1


def test_error_names_the_right_field_for_an_external_id(feed: Feed) -> None:
    save(feed, external_id="2026")
    with pytest.raises(InvalidInputError) as caught:
        save_follow_up(feed, action="CLOSE", refers_to="long-1")
    assert "Send your own external id in refers_to_external_id." in caught.value.detail
    with pytest.raises(InvalidInputError) as caught:
        save_follow_up(feed, action="CLOSE", refers_to=2026)
    assert caught.value.detail.endswith(
        "'2026' is an external id: send it as refers_to_external_id."
    )
