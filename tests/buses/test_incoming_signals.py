"""Signals that come in by a bus: published once, or kept with the reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, InternalError, OperationalError

from buses.incoming import intake, signals
from buses.incoming.intake import (
    Answer,
    Message,
    not_stored,
    replay_requested,
    request_replay,
    take,
)
from buses.incoming.models import BusMessage, BusRoute, MessageState
from buses.incoming.routes import add_route, end_route
from common.db.sql import database_now
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.models import Order
from signals.models import Approval, Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from tests.operational import set_setting
from tests.roles import staff
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits", "alice")]
SUBJECT = "signals.approved.gold"


@pytest.fixture(autouse=True)
def tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count from 0: message ids are the same in each test."""
    monkeypatch.setattr(intake, "tries", intake.Tries())


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR, name="olga")


@pytest.fixture
def route(feed: Feed, operator: User) -> BusRoute:
    return add_route(SUBJECT, feed=feed, by=operator)


def body(**fields: Any) -> bytes:
    """Return the message of the specification, with changes; None leaves a field out."""
    usual = {
        "signal_id": "s-1", "symbol": "EURUSD", "signal_type": "BUY", "stop_loss": "1.09",
        "take_profit": "1.12", "position_size": "1000",
    }  # fmt: skip
    return json.dumps({k: v for k, v in (usual | fields).items() if v is not None}).encode()


def message(data: bytes | None = None, **fields: Any) -> Message:
    usual: dict[str, Any] = {
        "bus": "nats://bus/IN", "message_id": "m-1", "subject": SUBJECT,
        "body": body() if data is None else data, "stored_at": database_now(),
    }  # fmt: skip
    return Message(**(usual | fields))


def dead() -> tuple[str, str]:
    """Return code and reason of the only message, which is a dead letter."""
    row = BusMessage.objects.get()
    assert row.state == MessageState.DEAD
    return row.code, row.detail


def test_message_is_published_to_the_routes_feed(route: BusRoute, feed: Feed) -> None:
    assert take(message()) is Answer.ACK
    signal = Signal.objects.get()
    assert (signal.feed, signal.external_id, signal.origin) == (feed, "s-1", Origin.BUS)
    assert (signal.currency_pair, signal.direction, signal.is_published) == ("EUR/USD", "BUY", True)
    assert signal.provider_quantity == 1000
    assert Order.objects.get().signal == signal
    row = BusMessage.objects.get()
    assert (row.state, row.signal, row.code) == (MessageState.DONE, signal, "")


def test_repeated_message_is_published_once(route: BusRoute) -> None:
    assert [take(message()) for _ in range(3)] == [Answer.ACK] * 3
    assert Order.objects.count() == 1


def test_message_id_used_for_another_signal_is_a_dead_letter(
    route: BusRoute, operator: User
) -> None:
    take(message())
    other = message(body(signal_id="s-2"))
    assert [take(other), take(other), take(message())] == [Answer.ACK] * 3
    assert Signal.objects.get().external_id == "s-1"
    row = BusMessage.objects.dead().get()
    assert (row.code, bytes(row.body)) == (Code.MESSAGE_ID_REPEATED, other.body)
    request_replay(row.pk, by=operator)
    replay_requested()
    assert set(Signal.objects.values_list("external_id", flat=True)) == {"s-1", "s-2"}
    assert [take(other), take(message())] == [Answer.ACK] * 2
    assert Order.objects.count() == BusMessage.objects.filter(state="DONE").count() == 2


def test_discarded_message_id_used_again_is_a_dead_letter(route: BusRoute, operator: User) -> None:
    take(message(body(stop_loss="NaN")))
    intake.discard(BusMessage.objects.get().pk, by=operator)
    take(message())
    assert BusMessage.objects.dead().get().code == Code.MESSAGE_ID_REPEATED
    assert BusMessage.objects.count() == 2
    assert not Signal.objects.exists()


def test_message_id_counts_for_its_subject_alone(
    route: BusRoute, feed: Feed, operator: User
) -> None:
    second = Feed.objects.create(name="Silver", slug="silver", owner=feed.owner, is_approved=True)
    add_route("signals.approved.silver", feed=second, by=operator)
    take(message())
    take(message(body(signal_id="s-9"), subject="signals.approved.silver"))
    assert set(Signal.objects.values_list("feed_id", "external_id")) == {
        (feed.pk, "s-1"), (second.pk, "s-9"),
    }  # fmt: skip
    assert not BusMessage.objects.dead().exists()


def test_message_of_another_subject_leaves_the_dead_letter(route: BusRoute) -> None:
    take(message(subject="signals.approved.other"))
    take(message())
    row = BusMessage.objects.dead().get()
    assert (row.subject, row.code) == ("signals.approved.other", Code.SUBJECT_UNKNOWN)
    assert Order.objects.count() == 1


def test_signal_id_with_another_content_is_a_dead_letter(route: BusRoute) -> None:
    take(message())
    take(message(body(signal_type="SELL", stop_loss="1.12", take_profit="1.05"), message_id="m-2"))
    assert Order.objects.count() == 1
    assert BusMessage.objects.dead().get().code == Code.DUPLICATE_SIGNAL


def test_same_signal_by_another_message_is_published_once(route: BusRoute) -> None:
    take(message())
    take(message(message_id="m-2"))
    assert Order.objects.count() == 1
    assert not BusMessage.objects.dead()


def test_crash_before_the_commit_publishes_nothing(
    route: BusRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(name: str) -> None:
        if name == "bus.published":
            raise RuntimeError(name)

    with monkeypatch.context() as patched:
        patched.setattr(intake, "failpoint", crash)
        assert take(message()) is Answer.RETRY
    assert not Signal.objects.exists()
    assert not BusMessage.objects.exists()
    assert take(message()) is Answer.ACK
    assert Order.objects.count() == 1


def test_message_that_breaks_the_program_ends_as_dead_letter(
    route: BusRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(intake, "publish_from_bus", fault)
    answers = [take(message()) for _ in range(5)]
    assert answers == [Answer.RETRY] * 4 + [Answer.ACK]
    assert dead()[0] == Code.UNEXPECTED


def test_subject_without_route_is_a_dead_letter() -> None:
    assert take(message()) is Answer.ACK
    assert dead() == (Code.SUBJECT_UNKNOWN, f"No route is for '{SUBJECT}'.")
    assert not Signal.objects.exists()


@pytest.mark.parametrize(
    "subject", ["signals.pending.gold", "signals.approved.Gold", "orders.gold"]
)
def test_other_subject_is_never_executed(route: BusRoute, subject: str) -> None:
    take(message(subject=subject))
    assert dead()[0] == Code.SUBJECT_UNKNOWN
    assert not Signal.objects.exists()


def test_ended_route_lets_nothing_in(route: BusRoute, operator: User) -> None:
    assert end_route(route.pk, by=operator)
    assert not end_route(route.pk, by=operator)
    take(message())
    assert dead()[0] == Code.SUBJECT_UNKNOWN


def test_feed_without_approval_publishes_nothing(route: BusRoute, feed: Feed) -> None:
    Feed.objects.filter(pk=feed.pk).update(is_approved=False)
    take(message())
    assert dead()[0] == Code.FEED_NOT_APPROVED
    assert not Signal.objects.exists()


@pytest.mark.parametrize("approval", ["PENDING", False, True, None, "", [], {}, 0, 1, ["APPROVED"]])
def test_message_that_states_another_approval_is_not_executed(
    route: BusRoute, approval: Any
) -> None:
    data = json.loads(body()) | {"approval": approval}
    assert take(message(json.dumps(data).encode())) is Answer.ACK
    assert dead()[0] == Code.SIGNAL_NOT_APPROVED
    assert not Signal.objects.exists()
    assert not Order.objects.exists()


@pytest.mark.parametrize("approval", ["APPROVED", "approved", "Approved"])
def test_message_that_states_its_approval_is_published(route: BusRoute, approval: str) -> None:
    take(message(body(approval=approval)))
    assert Order.objects.get().signal == Signal.objects.get()


def test_archived_feed_and_inactive_owner_publish_nothing(route: BusRoute, feed: Feed) -> None:
    User.objects.filter(pk=feed.owner_id).update(is_active=False)
    take(message())
    assert dead()[0] == Code.FEED_UNKNOWN


@pytest.mark.parametrize(
    ("data", "code", "part"),
    [
        (b'{"signal_id": "s-1", "symb', Code.BODY_NOT_JSON, "Not JSON"),
        (b"", Code.BODY_NOT_JSON, ""),
        (b"\xff\xfe", Code.BODY_NOT_JSON, "UTF-8"),
        (b"[1]", Code.BODY_NOT_JSON, "object"),
        (b"x" * 10_000_000, Code.BODY_TOO_LARGE, "10000000 bytes"),
        (body(signal_id=None), Code.FIELD_REQUIRED, "signal_id: "),
        (body(signal_type="HOLD"), Code.FIELD_INVALID, "signal_type: "),
        (body(symbol=None), Code.FIELD_REQUIRED, "symbol: "),
        (body(stop_loss="NaN"), Code.NUMBER_MALFORMED, "stop_loss: "),
        (body(take_profit=[1]), Code.NUMBER_MALFORMED, "take_profit: "),
        (body(position_size="-1"), Code.NUMBER_NOT_POSITIVE, "position_size: "),
        (body(signal_type="BUY_LIMIT"), Code.PRICE_REQUIRED, ""),
        (body(leverage=100), Code.FIELD_UNKNOWN, "leverage: "),
        (body(external_id="x"), Code.FIELD_UNKNOWN, "external_id: "),
        (body(schema_version=2), Code.SCHEMA_UNKNOWN, "knows 1"),
        (body(schema_version="new"), Code.SCHEMA_UNKNOWN, "knows 1"),
        (
            b'{"signal_id":"s-1","symbol":"EURUSD","signal_type":"BUY","stop_loss":1,"stop_loss":2}',
            Code.DUPLICATE_KEY,
            "stop_loss",
        ),
    ],
)
def test_message_that_cannot_be_read_is_a_dead_letter(
    route: BusRoute, data: bytes, code: Code, part: str
) -> None:
    assert take(message(data)) is Answer.ACK
    found, detail = dead()
    assert found == code
    assert part in detail
    assert not Signal.objects.exists()
    assert len(bytes(BusMessage.objects.get().body)) <= 16 * 1024


def test_schema_version_of_now_is_taken(route: BusRoute) -> None:
    take(message(body(schema_version=1, signal_id=17)))
    assert Signal.objects.get().external_id == "17"


def test_stop_on_the_wrong_side_is_a_dead_letter(route: BusRoute) -> None:
    take(message(body(signal_type="BUY_LIMIT", entry_price="1.05", stop_loss="1.06")))
    found, detail = dead()
    assert (found, "stop_loss" in detail) == (Code.STOP_WRONG_SIDE, True)


@pytest.mark.parametrize(
    ("kind", "order_type", "price"),
    [("BUY_LIMIT", "LIMIT", "open_price"), ("SELL_STOP", "STOP", "stop_price")],
)
def test_entry_price_is_that_of_the_order_type(
    route: BusRoute, kind: str, order_type: str, price: str
) -> None:
    levels = ("1.0", "1.2") if kind == "BUY_LIMIT" else ("1.2", "1.0")
    entry = "1.09"
    take(
        message(
            body(signal_type=kind, entry_price=entry, stop_loss=levels[0], take_profit=levels[1])
        )
    )
    signal = Signal.objects.get()
    assert (signal.order_type, str(getattr(signal, price).normalize())) == (order_type, entry)


def test_market_entry_delivered_late_is_not_executed(route: BusRoute) -> None:
    take(message(stored_at=database_now() - timedelta(hours=1)))
    assert dead()[0] == Code.ALERT_TOO_OLD
    assert not Signal.objects.exists()


LIMIT = {"signal_type": "BUY_LIMIT", "entry_price": "1.1"}
STOP = {"signal_type": "SELL_STOP", "entry_price": "1.1", "stop_loss": "1.12", "take_profit": "1"}


@pytest.mark.parametrize("fields", [LIMIT, STOP])
def test_waiting_entry_delivered_late_is_not_executed(
    route: BusRoute, operator: User, fields: dict[str, str]
) -> None:
    take(message(body(**fields), stored_at=database_now() - timedelta(hours=20)))
    code, detail = dead()
    assert (code, "must not be older than 300 s" in detail) == (Code.ALERT_TOO_OLD, True)
    request_replay(BusMessage.objects.get().pk, by=operator)
    replay_requested()
    assert dead()[0] == Code.ALERT_TOO_OLD
    assert not Signal.objects.exists()


@pytest.mark.parametrize("fields", [LIMIT, STOP])
def test_waiting_entry_delivered_in_time_has_no_end(
    route: BusRoute, fields: dict[str, str]
) -> None:
    take(message(body(**fields), stored_at=database_now() - timedelta(minutes=4)))
    signal = Signal.objects.get()
    assert (signal.valid_until, signal.is_published) == (None, True)


def test_waiting_entry_with_an_end_is_executed_until_then(route: BusRoute) -> None:
    yesterday, tomorrow = (database_now() + timedelta(days=days) for days in (-1, 1))
    take(message(body(**LIMIT, valid_until=tomorrow.isoformat()), stored_at=yesterday))
    assert Signal.objects.get().valid_until == tomorrow


def test_late_message_does_not_publish_a_stored_draft(route: BusRoute, feed: Feed) -> None:
    draft = signals.read_bus_signal(body(**LIMIT), sent_at=database_now())
    save_draft(feed, draft, origin=Origin.API, by=feed.owner)
    take(message(body(**LIMIT), stored_at=database_now() - timedelta(hours=20)))
    assert dead()[0] == Code.ALERT_TOO_OLD
    assert not Signal.objects.get().is_published


@pytest.mark.parametrize("default", ["LIMIT", "STOP"])
@pytest.mark.parametrize("entry_price", [None, "1.1"])
def test_buy_is_a_market_entry_whatever_the_default_order_type(
    route: BusRoute, default: str, entry_price: str | None
) -> None:
    set_setting("order_defaults.default_order_type", default)
    take(message(body(entry_price=entry_price)))
    signal = Signal.objects.get()
    assert (signal.order_type, signal.is_published) == ("MARKET", True)
    assert signal.valid_until is not None


def test_clock_of_the_bus_ahead_makes_nothing_younger(route: BusRoute) -> None:
    take(message(stored_at=database_now() + timedelta(hours=1)))
    assert BusMessage.objects.get().stored_at <= database_now()
    signal = Signal.objects.get()
    assert signal.valid_until is not None
    assert signal.valid_until < datetime.now(UTC) + timedelta(minutes=30)


def test_close_before_its_open_waits_for_it(route: BusRoute) -> None:
    close = body(
        signal_id="c-1", signal_type="CLOSE", refers_to="s-1", stop_loss=None, take_profit=None,
        position_size=None, symbol=None,
    )  # fmt: skip
    assert take(message(close, message_id="m-2")) is Answer.RETRY
    assert not BusMessage.objects.exists()
    take(message())
    assert take(message(close, message_id="m-2")) is Answer.ACK
    assert Signal.objects.get(external_id="c-1").refers_to == Signal.objects.get(external_id="s-1")


def test_close_whose_open_never_comes_is_a_dead_letter(route: BusRoute) -> None:
    close = body(
        signal_id="c-1", signal_type="CLOSE", refers_to="s-1", stop_loss=None, take_profit=None,
        position_size=None, symbol=None,
    )  # fmt: skip
    answers = [take(message(close)) for _ in range(intake.PATIENT_TRIES)]
    assert answers == [Answer.RETRY] * (intake.PATIENT_TRIES - 1) + [Answer.ACK]
    assert dead()[0] == Code.REFERENCE_REQUIRED


@pytest.mark.parametrize("error", [OperationalError("gone"), RuntimeError("ours")])
def test_close_waits_for_its_open_after_the_database_was_away(
    route: BusRoute, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    close = message(
        body(
            signal_id="c-1", signal_type="CLOSE", refers_to="s-1", stop_loss=None,
            take_profit=None, position_size=None, symbol=None,
        ),
        message_id="m-2",
    )  # fmt: skip

    def gone(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(intake, "_take", gone)
        patched.setattr(intake, "connection", SimpleNamespace(close=lambda: None))
        deliveries = 3 if isinstance(error, RuntimeError) else 20
        assert {take(close) for _ in range(deliveries)} == {Answer.RETRY}
    assert take(close) is Answer.RETRY
    take(message())
    assert take(close) is Answer.ACK
    assert Signal.objects.get(external_id="c-1").refers_to == Signal.objects.get(external_id="s-1")


def test_replay_publishes_once_the_reason_is_gone(feed: Feed, operator: User) -> None:
    take(message())
    add_route(SUBJECT, feed=feed, by=operator)
    row = BusMessage.objects.get()
    request_replay(row.pk, by=operator)
    assert replay_requested() == 1
    row.refresh_from_db()
    assert (row.state, row.replays, row.decided_by) == (MessageState.DONE, 1, operator)
    assert row.signal == Signal.objects.get()
    assert replay_requested() == 0
    with pytest.raises(ConflictError):
        request_replay(row.pk, by=operator)


def test_replay_of_an_old_market_entry_stays_dead(feed: Feed, operator: User) -> None:
    take(message(stored_at=database_now() - timedelta(hours=1)))
    add_route(SUBJECT, feed=feed, by=operator)
    request_replay(BusMessage.objects.get().pk, by=operator)
    replay_requested()
    assert dead()[0] == Code.ALERT_TOO_OLD


CLOSE = {
    "signal_id": "c-1", "signal_type": "CLOSE", "refers_to": "s-1", "stop_loss": None,
    "take_profit": None, "position_size": None, "symbol": None,
}  # fmt: skip


def two_requested_replays(feed: Feed, operator: User) -> tuple[BusMessage, BusMessage]:
    """Return two dead letters that now have a route: one that shall fail, then a CLOSE."""
    take(message(body(signal_id="s-0"), message_id="m-0"))
    take(message(body(), message_id="m-1"))
    take(message(body(**CLOSE), message_id="m-2"))
    add_route(SUBJECT, feed=feed, by=operator)
    failing, opening, close = BusMessage.objects.order_by("pk")
    request_replay(opening.pk, by=operator)
    replay_requested()
    for row in (failing, close):
        request_replay(row.pk, by=operator)
    return failing, close


def failing_with(error: Exception) -> Any:
    """Return what publishes all messages but m-0."""
    publish = signals.publish_from_bus

    def fault(feed: Feed, row: BusMessage) -> Signal:
        if row.message_id != "m-0":
            return publish(feed, row)
        raise error

    return fault


@pytest.mark.parametrize(
    "error", [DataError("22003"), IntegrityError("23514"), InternalError("P0001")]
)
def test_replay_that_the_database_refuses_is_settled_and_stops_no_close(
    feed: Feed, operator: User, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing, close = two_requested_replays(feed, operator)
    monkeypatch.setattr(intake, "publish_from_bus", failing_with(error))
    replay_requested()
    for row in (failing, close):
        row.refresh_from_db()
    assert close.state == MessageState.DONE
    assert (failing.state, failing.code) == (MessageState.DEAD, Code.UNEXPECTED)
    assert failing.replay_requested_at is None


def test_replays_that_always_wait_take_no_turn_of_others(
    feed: Feed, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing, close = two_requested_replays(feed, operator)
    monkeypatch.setattr(intake, "connection", SimpleNamespace(close=lambda: None))
    slow = OperationalError("canceling statement due to statement timeout")
    slow.__cause__ = psycopg.errors.QueryCanceled()
    monkeypatch.setattr(intake, "publish_from_bus", failing_with(slow))
    monkeypatch.setattr(intake, "REPLAYS_AT_ONCE", 1)
    assert [replay_requested() for _ in range(3)] == [0, 1, 0]
    close.refresh_from_db()
    assert close.state == MessageState.DONE


def test_replay_that_always_takes_too_long_stops_no_close(
    feed: Feed, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, close = two_requested_replays(feed, operator)
    slow = OperationalError("canceling statement due to statement timeout")
    slow.__cause__ = psycopg.errors.QueryCanceled()
    monkeypatch.setattr(intake, "publish_from_bus", failing_with(slow))
    monkeypatch.setattr(intake, "connection", SimpleNamespace(close=lambda: None))
    replay_requested()
    for row in (failing, close):
        row.refresh_from_db()
    assert close.state == MessageState.DONE
    assert failing.replay_requested_at is not None  # its turn comes again
    assert failing.replays == 0


def test_replay_of_a_letter_that_is_discarded_meanwhile_stops_no_close(
    feed: Feed, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, close = two_requested_replays(feed, operator)
    monkeypatch.setattr(intake, "publish_from_bus", failing_with(RuntimeError("ours")))
    real = intake._carry_out

    def carry_out(row: BusMessage, *, is_last: bool) -> None:
        try:
            real(row, is_last=is_last)
        except RuntimeError:
            intake.discard(row.pk, by=operator)  # pressed before the fault is stored
            raise

    monkeypatch.setattr(intake, "_carry_out", carry_out)
    replay_requested()
    for row in (failing, close):
        row.refresh_from_db()
    assert (failing.state, close.state) == (MessageState.DISCARDED, MessageState.DONE)


def test_message_stored_in_part_cannot_be_replayed(route: BusRoute, operator: User) -> None:
    take(message(b"x" * 20_000))
    with pytest.raises(ConflictError, match="Only the first 16384 of its 20000 bytes"):
        request_replay(BusMessage.objects.get().pk, by=operator)


def test_corrected_message_with_the_same_id_is_published(route: BusRoute) -> None:
    take(message(body(stop_loss="NaN")))
    assert take(message(body(stop_loss="NaN"))) is Answer.ACK
    assert dead()[0] == Code.NUMBER_MALFORMED
    assert take(message()) is Answer.ACK
    assert BusMessage.objects.get(is_repeat=False).state == MessageState.DONE
    assert Order.objects.count() == 1


def test_faulty_message_stays_put_aside_once_it_is_corrected(feed: Feed, operator: User) -> None:
    old, new = message(body(position_size="2000")), message()
    take(old)
    request_replay(BusMessage.objects.get().pk, by=operator)
    take(new)  # neither has a route
    assert not_stored([old, new]) == []
    replaced, row = BusMessage.objects.order_by("pk")
    assert (replaced.state, replaced.is_repeat) == (MessageState.DISCARDED, True)
    assert (bytes(replaced.body), replaced.code) == (old.body, Code.SUBJECT_UNKNOWN)
    assert (row.state, row.is_repeat, bytes(row.body)) == (MessageState.DEAD, False, new.body)
    add_route(SUBJECT, feed=feed, by=operator)
    assert replay_requested() == 0
    request_replay(row.pk, by=operator)
    assert replay_requested() == 1
    assert [take(old), take(new)] == [Answer.ACK] * 2
    assert Signal.objects.get().provider_quantity == 1000
    assert not BusMessage.objects.dead().exists()


def test_message_from_before_the_dead_letter_corrects_nothing(route: BusRoute) -> None:
    old = message(stored_at=database_now() - timedelta(seconds=1))
    take(message(body(stop_loss="NaN")))
    take(old)  # waited for the database, for example
    codes = BusMessage.objects.dead().order_by("pk").values_list("code", flat=True)
    assert list(codes) == [Code.NUMBER_MALFORMED, Code.MESSAGE_ID_REPEATED]
    assert not Order.objects.exists()


@pytest.mark.parametrize("is_dead", [True, False])
def test_second_content_that_breaks_the_program_ends_as_dead_letter(
    route: BusRoute, monkeypatch: pytest.MonkeyPatch, is_dead: bool
) -> None:
    first, second = message(body(stop_loss="NaN") if is_dead else None), message(body(note="x"))
    take(first)

    def fault(*_: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(intake, "publish_from_bus" if is_dead else "_take", fault)
    assert [take(second) for _ in range(5)] == [Answer.RETRY] * 4 + [Answer.ACK]
    row = BusMessage.objects.dead().get()
    assert (row.code, bytes(row.body)) == (Code.UNEXPECTED, second.body)
    assert row.is_repeat is not is_dead


def test_tries_of_a_message_count_not_for_its_correction(
    route: BusRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = {"signal_type": "CLOSE", "stop_loss": None, "take_profit": None, "position_size": None}
    first = message(body(**close, signal_id="c", symbol="EURUSD", refers_to="s-1"))
    second = message(body(**close, signal_id="c", symbol=None, refers_to="s-1"))
    assert [take(first) for _ in range(9)] == [Answer.RETRY] * 9
    assert take(second) is Answer.RETRY


def test_discarded_message_is_not_replayed(route: BusRoute, operator: User) -> None:
    take(message(b"{"))
    row = BusMessage.objects.get()
    request_replay(row.pk, by=operator)
    intake.discard(row.pk, by=operator)
    assert replay_requested() == 0
    row.refresh_from_db()
    assert row.state == MessageState.DISCARDED


def test_only_staff_who_may_approve_let_signals_in(feed: Feed) -> None:
    for user in (feed.owner, staff(Role.SUPPORT, name="sue"), staff(Role.RISK_OFFICER, name="ria")):
        with pytest.raises(NotAllowedError):
            add_route(SUBJECT, feed=feed, by=user)
    assert not BusRoute.objects.exists()


@pytest.mark.parametrize(
    "subject", ["signals.approved.>", "signals.approved.", "signals.gold", "a"]
)
def test_route_of_another_subject_is_refused(feed: Feed, operator: User, subject: str) -> None:
    with pytest.raises(InvalidInputError):
        add_route(subject, feed=feed, by=operator)


@pytest.mark.parametrize(("name", "is_read"), [("a", True), ("a.b", False), ("a.b.c", False)])
def test_route_of_fills_has_a_subject_that_is_read(
    alice: ExecutionConnection, name: str, is_read: bool
) -> None:
    operator = staff(Role.ADMINISTRATOR)
    if is_read:
        add_route(f"mt5.fills.{name}", account=alice, by=operator)
        return
    with pytest.raises(InvalidInputError, match="one name without dots"):
        add_route(f"mt5.fills.{name}", account=alice, by=operator)


def test_second_route_of_a_subject_is_refused(
    route: BusRoute, feed: Feed, operator: User, alice: ExecutionConnection
) -> None:
    with pytest.raises(ConflictError):
        add_route(SUBJECT, feed=feed, by=operator)
    with pytest.raises(InvalidInputError):
        add_route(SUBJECT, account=alice, by=operator)


def test_every_field_of_the_specification_is_known() -> None:
    assert {
        "signal_id", "symbol", "signal_type", "entry_price", "stop_loss", "take_profit",
        "position_size",
    } <= signals.KNOWN  # fmt: skip
    assert Approval.APPROVED == "APPROVED"
