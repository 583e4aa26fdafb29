"""The specification's document is a valid import, and each of its keys changes behaviour."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from brokers.types import CloseCause
from common.errors import ConflictError, InvalidInputError
from common.models import KeptAnswer
from common.operational import store
from common.operational.current import settings_now
from common.operational.reading import parse
from common.permissions import Role
from common.process.jobs import pace
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import tasks
from execution.job_table import jobs_of_role
from execution.models import DriftItem, Order
from execution.recovery.order_polling import interval_of
from positions.models import ExecutionPosition
from signals.models import Feed, Origin, Signal
from signals.publishing.ingest import save_draft
from signals.reading.intake import read_signal
from tests.common.operational.test_document import SPECIFIED
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.roles import staff

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker", "inline_commits")]


def stored(changes: dict[str, Any]) -> None:
    """Store a version, as a person does: it is in force at once in this process."""
    by = staff(Role.ADMINISTRATOR)
    store.save(changes, by=by, why="A test.", origin=store.Origin.CONSOLE)


def seen() -> tuple[str, str]:
    order = Order.objects.latest("id")
    return order.status, order.reason


def draft(**fields: Any) -> Any:
    return read_signal({"symbol": "EUR/USD", "direction": "BUY", **fields})


def send(feed: Feed, **fields: Any) -> Signal:
    return save_draft(feed, draft(**fields), origin=Origin.API, by=feed.owner)[0]


def test_document_of_the_specification_is_imported() -> None:
    stored(parse(SPECIFIED))
    assert settings_now().order_defaults.max_slippage_pips == 3
    assert settings_now().execution.poll_seconds == 2  # what it does not name stays


# ---- order_defaults
def test_default_order_type_is_that_of_entries_which_name_none() -> None:
    assert draft().order_type == "MARKET"
    stored({"order_defaults": {"default_order_type": "LIMIT"}})
    assert draft(open_price="1.09").order_type == "LIMIT"
    assert draft(order_type="MARKET").order_type == "MARKET"
    with pytest.raises(InvalidInputError, match="open_price"):
        draft()
    assert read_signal({"action": "CLOSE", "refers_to": 1}).order_type == "MARKET"


@pytest.mark.parametrize(
    ("key", "code", "fields"),
    [
        ("enable_limit_orders", Code.LIMIT_ORDERS_OFF,
         {"order_type": "LIMIT", "open_price": D("1.095")}),
        ("enable_stop_orders", Code.STOP_ORDERS_OFF,
         {"order_type": "STOP", "stop_price": D("1.105")}),
    ],
)  # fmt: skip
def test_order_types_that_are_off_are_neither_accepted_nor_sent(
    alice: ExecutionConnection, feed: Feed, key: str, code: Code, fields: dict[str, Any]
) -> None:
    factories.signal(feed, **fields)  # published before they were switched off
    stored({"order_defaults": {key: False}})
    assert factories.claim_all() == []
    assert seen() == ("DENIED", code)
    with pytest.raises(InvalidInputError) as refused:
        draft(**{name: str(value) for name, value in fields.items()})
    assert (refused.value.code, refused.value.field) == (code, "order_type")
    factories.signal(feed)
    assert len(factories.claim_all()) == 1  # a market order
    stored({"order_defaults": {key: True}})
    factories.signal(feed, **fields)
    assert len(factories.claim_all()) == 1


def test_stop_losses_are_sent_while_stop_orders_are_off(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    stored({"order_defaults": {"enable_stop_orders": False, "enable_limit_orders": False}})
    factories.close_signal(position.signal)
    (exit_,) = factories.claim_all()
    assert exit_.request.quantity == 100


def test_slippage_limit_is_that_of_signals_which_state_none(
    alice: ExecutionConnection, feed: Feed
) -> None:
    stored({"order_defaults": {"max_slippage_pips": 3}})
    factories.signal(feed, open_price=D("1.1"))
    factories.signal(feed, open_price=D("1.1"), max_slippage_pips=D(5))
    first, second = factories.claim_all()
    assert (first.request.worst_price, second.request.worst_price) == (D("1.1003"), D("1.1005"))
    stored({"order_defaults": {"max_slippage_pips": None}})
    factories.signal(feed, open_price=D("1.1"))
    (third,) = factories.claim_all()
    assert third.request.worst_price is None


def test_slippage_limit_in_pips_leaves_coins_alone(feed: Feed) -> None:
    stored({"order_defaults": {"max_slippage_pips": 3}})
    factories.instrument("BTC/USD", tick=D("0.01"))
    coin = factories.account(feed)
    factories.quote(coin, "50000", "50001", pair="BTC/USD")
    factories.signal(feed, currency_pair="BTC/USD", open_price=D(50000), sl=D(49000))
    factories.claim_all()
    assert Order.objects.get(connection=coin).worst_price is None


# ---- idempotency
def keyed_post(feed: Feed) -> tuple[int, str]:
    """Pause an account by a request with a key, twice; return the last answer's status and mark."""
    owner = make.user()
    account = make.connection(owner)
    client = APIClient()
    client.force_authenticate(owner)
    path = f"/api/v1/connections/{account.pk}/pause/"
    for _ in range(2):
        answer = client.post(path, HTTP_IDEMPOTENCY_KEY="k")
    return answer.status_code, answer.get("Idempotency-Replayed", "")


def test_idempotency_switched_off_keeps_no_answers_and_drops_no_constraint(
    alice: ExecutionConnection, feed: Feed
) -> None:
    assert keyed_post(feed)[1] == "true"
    stored({"idempotency": {"enabled": False}})
    KeptAnswer.objects.all().delete()
    assert keyed_post(feed)[1] == ""
    assert not KeptAnswer.objects.exists()
    first = send(feed, external_id="a")
    assert send(feed, external_id="a") == first  # by the database's constraint
    with pytest.raises(ConflictError, match="other contents"):
        send(feed, external_id="a", sl="1.08")
    sent = factories.signal(feed)
    assert len(factories.claim_all()) == 1
    tasks.execute_signal(list(Order.objects.filter(signal=sent).values_list("id", flat=True)))
    assert factories.claim_all() == []
    assert Order.objects.filter(signal=sent).count() == 1


def test_window_is_how_long_a_repetition_is_recognised(feed: Feed) -> None:
    stored({"idempotency": {"check_window_hours": 2, "dedupe_by": ["symbol", "direction"]}})
    first = send(feed)
    with pytest.raises(ConflictError) as refused:
        send(feed)
    assert refused.value.code == Code.SIGNAL_REPEATED
    assert first.number in refused.value.detail
    Signal.objects.update(created_at=timezone.now() - timedelta(hours=2, seconds=1))
    assert send(feed) != first


def test_dedupe_by_names_the_fields_that_are_compared(feed: Feed) -> None:
    assert send(feed) != send(feed)  # by default two equal entries are two
    stored({"idempotency": {"dedupe_by": ["symbol", "strategy_id"]}})
    other = send(feed, strategy_id="other")
    with pytest.raises(ConflictError, match="same symbol, strategy_id"):
        send(feed, strategy_id="other")
    with pytest.raises(ConflictError, match=other.number):
        send(feed, strategy_id="other", direction="SELL", external_id="new")
    assert send(make.feed(feed.owner)).pk  # another feed
    stored({"idempotency": {"enabled": False}})
    assert send(feed, strategy_id="other") != other


@pytest.mark.parametrize("field", ["strategy_id", "trade_plan_id", "price"])
def test_absent_value_makes_no_two_entries_the_same(feed: Feed, field: str) -> None:
    stored({"idempotency": {"dedupe_by": ["symbol", field]}})
    assert send(feed) != send(feed)
    stated: dict[str, Any] = {field: "a"}
    if field == "price":
        stated = {"order_type": "LIMIT", "price": "1.09"}
    first = send(feed, **stated)
    with pytest.raises(ConflictError, match=first.number):
        send(feed, **stated)
    assert send(feed) != first


def test_price_of_a_stop_entry_is_its_stop(feed: Feed) -> None:
    stored({"idempotency": {"dedupe_by": ["symbol", "price"]}})
    first = send(feed, order_type="STOP", stop_price="1.15")
    assert send(feed, order_type="STOP", stop_price="1.16") != first
    with pytest.raises(ConflictError, match=first.number):
        send(feed, order_type="STOP", stop_price="1.15")


def test_two_signal_ids_are_two_entries(feed: Feed) -> None:
    stored({"idempotency": {"dedupe_by": ["signal_id", "symbol"]}})
    first = send(feed, external_id="a")
    assert send(feed, external_id="b") != first
    assert send(feed, external_id="a") == first
    with pytest.raises(ConflictError, match="other contents"):
        send(feed, external_id="a", direction="SELL", sl="1.2")
    assert send(feed) != send(feed)


# ---- fill_tracking
def test_partial_fills_are_booked_but_not_notified_if_not_tracked(
    alice: ExecutionConnection, feed: Feed
) -> None:
    for is_tracked in (True, False):
        stored({"fill_tracking": {"track_partial_fills": is_tracked}})
        factories.signal(feed)
        factories.claim_all()
        order = Order.objects.latest("id")
        factories.apply(factories.fill_report(order, 40, f"a{order.pk}"))
        order.refresh_from_db()
        assert (order.status, order.filled_quantity) == ("PARTIALLY_FILLED", 40)
        factories.apply(factories.fill_report(order, 60, f"b{order.pk}"))
        order.refresh_from_db()
        assert (order.status, order.filled_quantity) == ("FILLED", 100)
    assert len(factories.events("order.partially_filled")) == 1
    assert len(factories.events("order.filled")) == 2


def test_update_interval_is_how_often_orders_are_polled() -> None:
    assert interval_of({}) == 1
    stored({"fill_tracking": {"update_interval_seconds": "2.5"}})
    assert interval_of({}) == 2.5
    assert interval_of({"update_interval_seconds": 7}) == 7  # an account's own


def test_slippage_alert_follows_its_threshold(alice: ExecutionConnection, feed: Feed) -> None:
    """A preset has a threshold of its own: this is that of accounts without one."""
    preset = alice.preset
    for threshold, alerts in ((5, 0), (3, 1)):
        stored({"fill_tracking": {"slippage_alert_threshold_pips": threshold}})
        ExecutionConnection.objects.update(preset=preset)
        factories.signal(feed)
        factories.claim_all()
        ExecutionConnection.objects.update(preset=None)
        order = Order.objects.latest("id")
        factories.apply(factories.fill_report(order, 100, f"f{order.pk}", price="1.1004"))
        assert len(factories.events("slippage.alert")) == alerts


# ---- position_reconciliation
def test_comparison_at_intervals_can_be_switched_off(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    stored({"position_reconciliation": {"enabled": False}})
    tasks.reconcile()
    assert not DriftItem.objects.exists()
    stored({"position_reconciliation": {"enabled": True}})
    tasks.reconcile()
    assert DriftItem.objects.exists()


def test_comparisons_of_session_lanes_follow_their_settings(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    """Beat has the others: tests/config/test_beat.py."""
    jobs = jobs_of_role("sessions", exits_only=False)
    [job] = [one for one in jobs if one.name == "reconciliation"]
    assert pace(job) == 300
    stored({"position_reconciliation": {"reconcile_interval_minutes": 2}})
    assert pace(job) == 120
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    stored({"position_reconciliation": {"enabled": False}})
    for _ in range(2):
        factories.pass_time(6)
        job.run()
    assert not DriftItem.objects.exists()
    stored({"position_reconciliation": {"enabled": True}})
    for _ in range(2):
        factories.pass_time(6)
        job.run()
    assert DriftItem.objects.exists()


def test_discrepancies_of_all_accounts_are_corrected_if_chosen(
    position: ExecutionPosition, broker: FakeBroker
) -> None:
    broker.close_at_broker(broker.tickets[0], CloseCause.EXTERNAL, D(30))
    for chosen, quantity in ((False, 100), (True, 70)):
        stored({"position_reconciliation": {"auto_correct_discrepancies": chosen}})
        for _ in range(2):
            factories.pass_time(6)
            tasks.reconcile()
            DriftItem.objects.update(found_at="2020-01-01T00:00Z")
        tasks.reconcile()
        position.refresh_from_db()
        assert position.quantity == quantity
