"""The inbox of alerts: what is stored at once, the order of publication, how each one ends."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import cache
from django.db import IntegrityError, transaction

from alerts.inbox import publishing as alert_publishing
from alerts.inbox.log import alerts_of, entries_for
from alerts.inbox.posts import PostedAlert, receive_alert
from alerts.inbox.publishing import MAX_ATTEMPTS, publish_next, publish_waiting, remove_old_alerts
from alerts.inbox.storing import (
    EXIT_PATIENCE,
    REFUSALS_PER_MINUTE,
    REFUSED_BODY_BYTES,
    Receipt,
    accept_alert,
)
from alerts.models import AlertSource, AlertState, IncomingAlert
from common import failpoints
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.failpoints import AbandonedError, Failpoint
from common.reason_codes import Code
from events.models import Event, EventKind
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.feeds.services import create_feed_token
from signals.models import Feed, Signal
from tests.alert_inbox import deliver
from tests.operational import set_setting

ENTRY = {"action": "OPEN", "symbol": "EURUSD", "direction": "BUY", "sl": "1.08"}
LIMIT = {**ENTRY, "order_type": "LIMIT", "price": "1.09"}
CLOSE = {"action": "CLOSE", "symbol": "EURUSD"}
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture
def disarmed() -> Any:
    yield
    failpoints.arm([])


def text(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def stored(feed: Feed, **fields: Any) -> IncomingAlert:
    """Store an alert that is accepted."""
    receipt = accept_alert(feed, text(**fields))
    assert receipt.error is None
    assert receipt.alert is not None
    return receipt.alert


def state_of(alert: IncomingAlert) -> tuple[str, str]:
    alert.refresh_from_db()
    return alert.state, alert.code


def only_receipt(feed: Feed, body: bytes, **more: Any) -> Receipt:
    _, secret = create_feed_token(feed)
    return receive_alert(PostedAlert(feed.slug, secret, body, **more))


def test_accepted_alert_waits_and_publishes_nothing_itself(feed: Feed) -> None:
    alert = stored(feed, **ENTRY)
    assert state_of(alert) == (AlertState.WAITING, "")
    assert not Signal.objects.exists()
    assert publish_next()
    assert state_of(alert) == (AlertState.PUBLISHED, "")
    assert alert.signal_ids == [Signal.objects.get().pk]
    assert not publish_next()


def test_log_says_that_a_size_has_no_effect(feed: Feed) -> None:
    receipt = accept_alert(feed, b"BUY EURUSD @ 1.09 SL 1.08 lot 0.5 risk 1%")
    assert receipt.alert is not None
    assert publish_next()
    assert state_of(receipt.alert) == (AlertState.PUBLISHED, "")
    [entry] = entries_for([receipt.alert])
    assert entry.sentence == (
        "Without effect: lot 0.5, risk 1%: the size follows each subscriber's preset."
    )


def test_log_shows_no_secret_of_another_service(feed: Feed) -> None:
    accept_alert(feed, b"60123456789,buy,EURUSD,sl_price=1.08,secret=s3cret")
    [entry] = entries_for(list(alerts_of(feed)))
    assert entry.text == "hidden,buy,EURUSD,sl_price=1.08,secret=hidden"


def test_unreadable_alert_is_refused_at_once_and_stays_in_the_log(feed: Feed) -> None:
    receipt = only_receipt(feed, b"\x00buy" + b"!" * 5_000)
    assert isinstance(receipt.error, InvalidInputError)
    alert = IncomingAlert.objects.get()
    assert (alert.state, alert.code) == (AlertState.REFUSED, Code.ALERT_NOT_UNDERSTOOD)
    assert len(bytes(alert.body)) == REFUSED_BODY_BYTES
    assert alert.text.startswith("�buy")
    assert not Event.objects.filter(kind=EventKind.ALERT_REFUSED).exists()  # its sender knows


def test_log_of_refusals_is_limited(feed: Feed) -> None:
    receipts = [only_receipt(feed, b"invalid") for _ in range(REFUSALS_PER_MINUTE + 5)]
    assert all(receipt.error for receipt in receipts)
    assert REFUSALS_PER_MINUTE <= IncomingAlert.objects.count() <= 2 * REFUSALS_PER_MINUTE


def test_refusal_by_the_worker_notifies_the_provider(feed: Feed) -> None:
    alert = stored(feed, action="CLOSE", refers_to_external_id="no such")
    assert publish_next()
    assert state_of(alert) == (AlertState.REFUSED, Code.REFERENCE_REQUIRED)
    event = Event.objects.get(kind=EventKind.ALERT_REFUSED)
    assert event.user_id == feed.owner_id
    assert event.payload["alert"] == alert.pk
    assert event.payload["code"] == Code.REFERENCE_REQUIRED
    assert not Signal.objects.exists()


def test_close_right_behind_its_entry_finds_it(feed: Feed) -> None:
    """Both arrive before a worker has published the first."""
    stored(feed, **ENTRY, external_id="mine")
    closing = stored(feed, action="CLOSE", refers_to_external_id="mine")
    assert publish_waiting(seconds=60) == 2
    assert state_of(closing) == (AlertState.PUBLISHED, "")
    opened, closed = Signal.objects.order_by("pk")
    assert closed.refers_to == opened


def test_repeated_alert_is_one_signal(feed: Feed) -> None:
    first, second = stored(feed, **ENTRY), stored(feed, **ENTRY)
    assert publish_waiting(seconds=60) == 2
    assert (state_of(first)[0], state_of(second)[0]) == (AlertState.PUBLISHED, AlertState.REPEATED)
    assert first.signal_ids == second.signal_ids
    assert Signal.objects.count() == 1


def test_repeated_alert_that_waited_is_one_signal(feed: Feed) -> None:
    """It arrived within the window of the first one, and is published after its end."""
    stored(feed, **LIMIT)
    assert publish_next()
    again = stored(feed, **LIMIT)
    Signal.objects.update(created_at=datetime.now(UTC) - timedelta(minutes=9))
    IncomingAlert.objects.filter(pk=again.pk).update(
        received_at=datetime.now(UTC) - timedelta(minutes=5), entry_until=LATER, expires_at=LATER
    )
    assert publish_next()
    assert state_of(again)[0] == AlertState.REPEATED
    assert Signal.objects.count() == 1


def test_validity_of_an_alert_that_waited_counts_from_its_arrival(feed: Feed) -> None:
    alert = stored(feed, **LIMIT, valid_for=3600)
    arrived = datetime.now(UTC) - timedelta(minutes=2)
    IncomingAlert.objects.filter(pk=alert.pk).update(received_at=arrived)
    assert publish_next()
    assert Signal.objects.get().valid_until == arrived + timedelta(hours=1)


@pytest.mark.parametrize(("coin", "is_read"), [("**SOL/USDT**", True), ("sol/usdt", False)])
def test_what_is_accepted_is_what_the_worker_reads(feed: Feed, coin: str, is_read: bool) -> None:
    """A name that looks like a secret is hidden: then the endpoint refuses it, not the worker."""
    feeds.update_feed(feed.pk, by=None, alert_mapping={"ignore": ["Token:"]})
    feed.refresh_from_db()
    receipt = accept_alert(feed, f"LONG\nToken: {coin}\nEntry: 150.25\nSL: 140.25".encode())
    assert receipt.alert is not None
    assert (receipt.error is None) == is_read
    publish_waiting(seconds=60)
    expected = AlertState.PUBLISHED if is_read else AlertState.REFUSED
    assert state_of(receipt.alert)[0] == expected
    assert (coin in receipt.alert.text) == is_read


def test_message_with_a_known_key_is_the_same_alert(feed: Feed) -> None:
    of_chat: dict[str, Any] = {"source": AlertSource.TELEGRAM, "source_key": "7:99"}
    first = accept_alert(feed, text(**ENTRY), **of_chat)
    again = accept_alert(feed, text(**ENTRY, note="edited"), **of_chat)
    assert first.alert == again.alert
    assert IncomingAlert.objects.count() == 1
    with pytest.raises(IntegrityError, match="one_incoming_alert"), transaction.atomic():
        IncomingAlert.objects.create(feed=feed, body=b"", expires_at=LATER, **of_chat)


class TestAge:
    """An alert waits a limited time, and then says so."""

    def past(self, alert: IncomingAlert, *names: str) -> None:
        IncomingAlert.objects.filter(pk=alert.pk).update(**dict.fromkeys(names, alert.received_at))

    def test_entry_waits_as_long_as_any_market_entry(self, feed: Feed, settings: Any) -> None:
        set_setting("execution.market_entry_max_age_seconds", 60)
        market, limit, exit_ = stored(feed, **ENTRY), stored(feed, **LIMIT), stored(feed, **CLOSE)
        patience = [round((one.expires_at - one.received_at).total_seconds())  # type: ignore[operator]
                    for one in (market, limit, exit_)]  # fmt: skip
        assert patience == [60, 300, EXIT_PATIENCE.total_seconds()]
        assert exit_.entry_until is None

    def test_old_entry_is_not_published(self, feed: Feed) -> None:
        alert = stored(feed, **ENTRY)
        self.past(alert, "entry_until", "expires_at")
        assert publish_next()
        assert state_of(alert) == (AlertState.EXPIRED, Code.ALERT_EXPIRED)
        assert alert.detail.startswith("It waited 0 s, since ")
        assert Event.objects.get(kind=EventKind.ALERT_REFUSED).payload["state"] == "EXPIRED"
        assert not Signal.objects.exists()


class TestSequence:
    """Alerts of one symbol wait for each other; those of other symbols do not."""

    @pytest.mark.parametrize(
        ("first", "second", "waits"),
        [
            ({"symbol": "BTCUSDT"}, {"symbol": "BTC/USD"}, False),
            ({"symbol": "DAX/EUR"}, {"symbol": "DAX"}, True),
            ({"symbol": "EURUSD", "tp": "4.9"}, {"symbol": "GBPUSD", "tp": "4.9"}, False),
            ({"symbol": "EURUSD", "tp": "4.9"}, {"symbol": "EURUSD", "tp": "4.9"}, True),
        ],
    )
    def test_alert_waits_for_an_earlier_one_of_its_symbol(
        self, feed: Feed, first: dict[str, str], second: dict[str, str], *, waits: bool
    ) -> None:
        earlier = stored(feed, **{**ENTRY, "sl": None, "tp": "9999999", **first})
        later = stored(feed, **{**ENTRY, "sl": None, "tp": "9999999", **second})
        IncomingAlert.objects.filter(pk=earlier.pk).update(due_at=LATER)  # its turn comes later
        assert publish_next() is not waits
        assert later_is_settled(later) is not waits

    def test_close_of_everything_waits_for_all(self, feed: Feed) -> None:
        earlier = stored(feed, **ENTRY)
        all_ = stored(feed, action="CLOSE", all=True)
        behind = stored(feed, **{**ENTRY, "symbol": "GBPUSD"})
        IncomingAlert.objects.filter(pk=earlier.pk).update(due_at=LATER)
        assert not publish_next()
        for entry, code in zip(
            entries_for([earlier, all_, behind]),
            (Code.ALERT_WAITS_FOR_WORKER, Code.ALERT_WAITS_ITS_TURN, Code.ALERT_WAITS_ITS_TURN),
            strict=True,
        ):
            assert entry.wait is not None
            assert (entry.wait.code, entry.wait.since) == (code, entry.alert.received_at)
            assert entry.wait.until == entry.alert.expires_at

    def test_other_feeds_do_not_wait(self, feed: Feed) -> None:
        other = Feed.objects.create(slug="other", name="o", owner=feed.owner, is_approved=True)
        earlier, later = stored(feed, **ENTRY), stored(other, **ENTRY)
        IncomingAlert.objects.filter(pk=earlier.pk).update(due_at=LATER)
        assert publish_next()
        assert later_is_settled(later)


def later_is_settled(alert: IncomingAlert) -> bool:
    return state_of(alert)[0] != AlertState.WAITING


class TestFailures:
    """What a worker leaves behind when it dies or fails."""

    @pytest.mark.parametrize("point", ["alert.claimed", "publish.written", "alert.written"])
    def test_dead_worker_leaves_the_alert_for_another(
        self, feed: Feed, disarmed: None, point: str
    ) -> None:
        alert = stored(feed, **ENTRY)
        failpoints.arm([Failpoint(point, "abandon")])
        with pytest.raises(AbandonedError):
            publish_next()
        assert state_of(alert) == (AlertState.WAITING, "")
        assert not Signal.objects.exists()
        failpoints.arm([])
        assert publish_waiting(seconds=60) == 1
        assert state_of(alert)[0] == AlertState.PUBLISHED
        assert Signal.objects.count() == 1

    def test_fault_of_ours_is_tried_again_then_refused(self, feed: Feed, disarmed: None) -> None:
        alert, other = stored(feed, **ENTRY), stored(feed, **{**ENTRY, "symbol": "GBPUSD"})
        for attempt in range(1, MAX_ATTEMPTS):
            failpoints.arm([Failpoint("alert.claimed", "raise")])
            IncomingAlert.objects.filter(pk=alert.pk).update(due_at=alert.received_at)
            assert publish_next()
            assert state_of(alert) == (AlertState.WAITING, Code.UNEXPECTED)
            assert alert.attempts == attempt
            assert alert.due_at > datetime.now(UTC)
            [entry] = entries_for([alert])
            assert f"{attempt} attempt" in entry.sentence
            if attempt == 1:  # the others go on meanwhile
                failpoints.arm([])
                assert publish_next()
                assert state_of(other)[0] == AlertState.PUBLISHED
        failpoints.arm([Failpoint("alert.claimed", "raise")])
        IncomingAlert.objects.filter(pk=alert.pk).update(due_at=alert.received_at)
        assert publish_next()
        assert state_of(alert) == (AlertState.REFUSED, Code.ALERT_PROCESSING_FAILED)
        assert Event.objects.filter(kind=EventKind.ALERT_REFUSED).count() == 1

    def test_fault_of_one_worker_refuses_nothing_that_another_has_published(
        self, feed: Feed, disarmed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its lock ends with its transaction, before it writes what it makes of the fault."""
        alert = stored(feed, **ENTRY)
        IncomingAlert.objects.filter(pk=alert.pk).update(attempts=MAX_ATTEMPTS - 1)

        def other_worker(*_: Any, **__: Any) -> None:
            failpoints.arm([])
            assert publish_next()

        monkeypatch.setattr(alert_publishing, "log", SimpleNamespace(warning=other_worker))
        failpoints.arm([Failpoint("alert.claimed", "raise")])
        assert publish_next()
        assert state_of(alert)[0] == AlertState.PUBLISHED
        assert not Event.objects.filter(kind=EventKind.ALERT_REFUSED).exists()

    def test_error_before_a_choice_is_raised(
        self, feed: Feed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored(feed, **ENTRY)
        monkeypatch.setattr(alert_publishing, "NEXT", "SELECT no_such_column")
        with pytest.raises(Exception, match="no_such_column"):
            publish_next()

    def test_feed_that_lost_its_approval_publishes_nothing(self, feed: Feed) -> None:
        alert = stored(feed, **ENTRY)
        Feed.objects.filter(pk=feed.pk).update(is_approved=False)
        assert publish_next()
        assert state_of(alert) == (AlertState.REFUSED, Code.FEED_NOT_APPROVED)


def test_old_alerts_are_removed_after_a_week(feed: Feed) -> None:
    old, new = stored(feed, **ENTRY), stored(feed, **ENTRY)
    weeks_ago = datetime.now(UTC) - timedelta(days=7, minutes=1)
    IncomingAlert.objects.filter(pk=old.pk).update(received_at=weeks_ago)
    assert remove_old_alerts() == 1
    assert list(alerts_of(feed)) == [new]


class TestRules:
    """What a feed allows of its alerts."""

    def allow(self, feed: Feed, **changes: Any) -> None:
        feeds.update_feed(feed.pk, by=None, **changes)
        feed.refresh_from_db()

    @pytest.mark.parametrize(
        ("address", "accepted"),
        [
            ("203.0.113.77", True),
            ("::ffff:203.0.113.77", True),
            ("52.89.214.238", True),  # by the preset
            ("203.0.114.1", False),
            ("2001:db8::1", False),
            ("", False),
        ],
    )
    def test_alert_comes_from_a_listed_address(
        self, feed: Feed, address: str, *, accepted: bool
    ) -> None:
        self.allow(feed, alert_sources=["203.0.113.0/24", "tradingview"])
        error = only_receipt(feed, text(**ENTRY), address=address).error
        assert (error is None) is accepted
        if error is not None:
            assert isinstance(error, NotAllowedError)
            assert error.code == Code.ALERT_SOURCE_NOT_ALLOWED

    def test_entry_in_another_symbol_is_refused_and_its_close_is_not(self, feed: Feed) -> None:
        self.allow(feed, alert_symbols=["GBP/USD"])
        refused = only_receipt(feed, text(**ENTRY)).error
        assert isinstance(refused, InvalidInputError)
        assert (refused.code, refused.field) == (Code.ALERT_SYMBOL_NOT_ALLOWED, "symbol")
        assert only_receipt(feed, text(**ENTRY | {"symbol": "GBPUSD"})).error is None
        assert only_receipt(feed, text(**CLOSE)).error is None

    def test_unsigned_address_is_refused_where_signatures_are_required(self, feed: Feed) -> None:
        _, unsigned = create_feed_token(feed)
        self.allow(feed, alerts_signed_only=True)
        receipt = receive_alert(PostedAlert(feed.slug, unsigned, text(**ENTRY)))
        assert receipt.error is not None
        assert receipt.error.code == Code.PERMISSION_DENIED
        assert create_feed_token(feed)[0].signing_key


class TestRotation:
    """A new address; the old one works until a chosen time."""

    def test_both_addresses_work_until_the_end_of_the_old_one(self, feed: Feed) -> None:
        old, old_secret = create_feed_token(feed, "chart", signed=False)
        end = datetime.now(UTC) + timedelta(hours=1)
        new, secret = feeds.rotate_feed_token(old.pk, old_ends_at=end)
        assert (new.name, new.expires_at) == ("chart", None)
        for number, one in enumerate((old_secret, secret)):
            assert deliver(feed, one, text(**ENTRY, external_id=str(number))).is_new
        old.refresh_from_db()
        assert old.expires_at == end
        old.expires_at = datetime.now(UTC)
        old.save()
        with pytest.raises(InvalidInputError) as refused:
            deliver(feed, old_secret, text(**ENTRY))
        assert refused.value.code == Code.FEED_UNKNOWN

    def test_signed_address_is_replaced_by_a_signed_one(self, feed: Feed) -> None:
        old, _ = create_feed_token(feed, signed=True)
        new, _ = feeds.rotate_feed_token(old.pk, old_ends_at=LATER)
        assert new.signing_key
        assert new.signing_key != old.signing_key

    def test_address_that_others_know_ends_with_its_replacement(self, feed: Feed) -> None:
        old, old_secret = create_feed_token(feed, "chart", signed=True)
        new, _ = feeds.rotate_feed_token(old.pk, old_ends_at=None)
        assert (new.name, new.expires_at, bool(new.signing_key)) == ("chart", None, True)
        with pytest.raises(InvalidInputError) as refused:
            deliver(feed, old_secret, text(**ENTRY))
        assert refused.value.code == Code.FEED_UNKNOWN
        old.refresh_from_db()
        assert old.revoked_at is not None
        with pytest.raises(ConflictError, match="works no more"):
            feeds.rotate_feed_token(old.pk, old_ends_at=None)

    def test_ended_address_is_not_replaced(self, feed: Feed) -> None:
        old, _ = create_feed_token(feed)
        with pytest.raises(InvalidInputError, match="in the past"):
            feeds.rotate_feed_token(old.pk, old_ends_at=datetime.now(UTC))
        feeds.revoke_feed_token(old.pk)
        with pytest.raises(ConflictError, match="works no more"):
            feeds.rotate_feed_token(old.pk, old_ends_at=LATER)
        assert feed.tokens.count() == 1
