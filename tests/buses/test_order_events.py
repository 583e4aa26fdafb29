"""What a sink receives of real orders: every transition, fills, positions, the fan-out."""

import json
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis import Redis

from brokers.types import ReportKind
from buses.drain import Drain
from buses.envelope import Envelope
from buses.models import SinkCursor
from buses.redis_streams.sink import open_sink
from connections.models import ExecutionConnection
from events.models import EventKind
from events.services import emit
from execution.dispatch.order_dispatcher import reports_from_outcome
from execution.models import Order
from signals.models import Feed, Signal
from tests.buses.factories import MemorySink
from tests.buses.schemas import check, check_json
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def sink(alice: ExecutionConnection) -> MemorySink:
    sink = MemorySink()
    Drain(sink, holder="test").step()
    assert sink.taken == []  # it begins with what happens from now on
    return sink


def published(feed: Feed, **fields: Any) -> Signal:
    return factories.published(make.signal(feed, sl=D("1.09"), **fields))


def drained(sink: MemorySink) -> list[Envelope]:
    """Return what one step delivers, each checked against its schema."""
    before = len(sink.taken)
    Drain(sink, holder="test").step()
    new = sink.taken[before:]
    check(new)
    return new


def of_type(events: list[Envelope], name: str) -> list[dict[str, Any]]:
    return [one.data for one in events if one.type == f"fillcast.{name}.v1"]


def test_every_transition_of_a_filled_entry_is_delivered(sink: MemorySink, feed: Feed) -> None:
    signal = published(feed, strategy_id="breakout", trade_plan_id="plan-1")
    factories.fill_all()
    events = drained(sink)
    updates = of_type(events, "order_update")
    steps = [(one["status_before"], one["status"], one["lifecycle"]) for one in updates]
    assert steps == [
        (None, "PENDING", "RECEIVED"),
        ("PENDING", "SUBMITTING", "VALIDATED"),
        ("SUBMITTING", "SUBMITTED", "SUBMITTED"),
        ("SUBMITTED", "FILLED", "FILLED"),
    ]
    assert [one["filled_quantity"] for one in updates] == ["0", "0", "0", "100"]
    assert [one["remaining_quantity"] for one in updates] == ["100", "100", "100", "0"]
    assert updates[-1]["average_price"] is not None
    assert updates[0]["average_price"] is None
    assert {(one["strategy_id"], one["trade_plan_id"]) for one in updates} == {
        ("breakout", "plan-1")
    }
    (fill,) = of_type(events, "fill")
    assert (fill["quantity"], fill["inferred"], fill["strategy_id"]) == ("100", False, "breakout")
    (opened,) = of_type(events, "position_opened")
    assert (opened["signal_id"], opened["quantity"]) == (signal.pk, "100")
    (done,) = of_type(events, "fanout_done")
    assert (done["signal_id"], done["candidates"], done["feed"]) == (signal.pk, 1, feed.slug)
    ids = [one.id for one in events]
    assert len(set(ids)) == len(ids)


def test_partial_fill_and_cancel_have_their_quantities(sink: MemorySink, feed: Feed) -> None:
    published(feed, order_type="LIMIT", open_price=D("1.09900"))
    (outgoing,) = factories.claim_all()
    order = Order.objects.get()
    accepted = factories.report(order, ReportKind.ACCEPTED)
    factories.apply(*reports_from_outcome(outgoing.request, [accepted]))
    factories.apply(factories.fill_report(order, 40, "f1", price="1.09900"))
    factories.apply(factories.report(order, ReportKind.CANCELLED))
    updates = of_type(drained(sink), "order_update")
    assert [(one["status"], one["filled_quantity"], one["remaining_quantity"]) for one in updates][
        -2:
    ] == [("PARTIALLY_FILLED", "40", "60"), ("CANCELLED", "40", "60")]
    assert updates[-2]["cancelled_at"] is None
    assert updates[-1]["cancelled_at"] == updates[-1]["updated_at"]


def test_closed_position_closes_its_order(
    sink: MemorySink, feed: Feed, alice: ExecutionConnection
) -> None:
    signal = published(feed)
    entry = factories.filled(signal).signal.orders.get()
    drained(sink)
    factories.close_signal(signal)
    factories.fill_all()
    events = drained(sink)
    (closed,) = of_type(events, "position_closed")
    assert (closed["quantity"], closed["close_reason"]) == ("0", "signal")
    (last,) = [one for one in of_type(events, "order_update") if one["order_id"] == entry.pk]
    assert (last["lifecycle"], last["status"], last["filled_quantity"]) == (
        "CLOSED",
        "FILLED",
        "100",
    )
    assert {one.tenant_id for one in events if one.account_id} == {alice.user_id}


def test_skipped_candidate_is_one_update(sink: MemorySink, feed: Feed) -> None:
    ExecutionConnection.objects.update(is_active=False)
    published(feed)
    (update,) = of_type(drained(sink), "order_update")
    assert (update["status"], update["status_before"], update["quantity"]) == (
        "SKIPPED",
        None,
        None,
    )


def test_private_events_reach_no_bus(sink: MemorySink, alice: ExecutionConnection) -> None:
    for kind in (EventKind.PASSWORD_CHANGED, EventKind.API_KEY_MADE, EventKind.CHANNEL_TEST):
        emit(kind, user_id=alice.user_id)
    emit(EventKind.KILL_SWITCH, payload={"level": "HALTED"})
    (notice,) = drained(sink)
    assert (notice.type, notice.data["kind"]) == ("fillcast.notice.v1", "kill_switch.changed")
    assert notice.tenant_id is None


def test_event_has_the_same_id_again(sink: MemorySink, feed: Feed, broker: FakeBroker) -> None:
    published(feed)
    first = [one.id for one in drained(sink)]
    other = MemorySink("other")
    Drain(other, holder="test").step()
    SinkCursor.objects.filter(sink__name="other").update(last_id=0)
    assert set(first) <= {one.id for one in drained(other)}


def test_redis_stream_gets_valid_events_of_a_trade(sink: MemorySink, feed: Feed) -> None:
    url = settings.REDIS_URL.split("?")[0].rsplit("/", 1)[0]
    name = f"test-{uuid4().hex}"
    stream = open_sink(f"{url.replace('redis://', 'redis+stream://')}/{name}")
    Drain(stream, holder="test").step()
    signal = published(feed)
    factories.fill_all()
    factories.close_signal(signal)
    factories.fill_all()
    Drain(stream, holder="test").step()
    with Redis.from_url(settings.REDIS_URL, decode_responses=True) as redis:
        found: Any = redis.xrange(name)
        redis.delete(name, f"{{{name}}}:ids", f"{{{name}}}:count")
    entries = [json.loads(fields["event"]) for _, fields in found]
    for entry in entries:
        check_json(entry)
    assert [one.id for one in drained(sink)] == [entry["id"] for entry in entries]
    assert {entry["type"].split(".")[1] for entry in entries} == {
        "order_update", "fill", "fanout_done", "position_opened", "position_changed",
        "position_closed",
    }  # fmt: skip
