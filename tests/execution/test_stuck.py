"""Orders that nobody hears of: asked less and less often, acted on, told once."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from brokers.messages import OrderRequest, ReportKind
from common.clocks import market_now
from common.codes import Code
from common.sql import rows, run
from connections.lanes import in_held
from connections.models import ExecutionConnection, TradingPreset
from execution.calls import runtime, stuck, sweeps
from execution.exits.wishes import grant_wishes
from execution.models import Order
from execution.services import cancel_order, close_position
from signals.models import Feed
from tests.execution import cast
from tests.execution.book import Ticket
from tests.execution.double import Double

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def entry(alice: ExecutionConnection, feed: Feed) -> Order:
    """A market order on its way, nothing told yet."""
    cast.signal(feed)
    cast.live_lease()
    cast.claim_all()
    return Order.objects.get()


def accepted(order: Order, broker: Double) -> Ticket:
    """The broker has it, says so, and does nothing more."""
    ticket = broker.receive(
        OrderRequest(
            client_order_id=order.client_order_id or "",
            connection_id=str(order.connection_id),
            account="1",
            symbol=order.symbol,
            side=order.side,  # type: ignore[arg-type]
            order_type=order.order_type,  # type: ignore[arg-type]
            time_in_force=order.time_in_force,  # type: ignore[arg-type]
            quantity=order.quantity,
        )
    )
    cast.tell(broker.report(ticket, ReportKind.ACCEPTED))
    return ticket


def state(order: Order) -> tuple[str, str, str]:
    order.refresh_from_db()
    return order.status, order.reason, order.wish


# ---- unknown for long ----------------------------------------------------------------------------
def pause_after(order: Order, unknown_for: float) -> float:
    """Seconds until it is asked about again."""
    run(
        "UPDATE execution_order SET lookup_after = clock_timestamp(),"
        " answer_by = clock_timestamp() - make_interval(secs => %s)",
        (unknown_for,),
    )
    times = {"first": sweeps.ASK_FIRST_SECONDS, "longest": 20, "claim": 0, "owner": ""}
    assert rows(sweeps.ASK, {**times, **in_held()})
    (row,) = rows(
        "SELECT extract(epoch FROM lookup_after - clock_timestamp())::float AS left"
        " FROM execution_order"
    )
    return float(row.left)


@pytest.mark.parametrize(("unknown_for", "pause"), [(0, 2), (2, 2), (10, 5), (20, 10), (9999, 20)])
def test_it_is_asked_less_and_less_often_and_never_quite_at_the_same_time(
    entry: Order, unknown_for: float, pause: float
) -> None:
    pauses = [pause_after(entry, unknown_for) for _ in range(20)]
    assert all(0.74 * pause <= one <= 1.27 * pause for one in pauses)
    assert max(pauses) - min(pauses) > 0.05 * pause


def test_one_that_stays_unknown_is_an_alarm_once(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    broker.reads_fail = True
    cast.pass_time(100)
    sweeps.take_over("another")
    sweeps.ask_brokers(wire.wire)
    stuck.tell_of_limbo()
    assert cast.events("order.limbo") == []  # 300 s are allowed
    cast.pass_time(300)
    stuck.tell_of_limbo()
    stuck.tell_of_limbo()
    assert cast.events("order.limbo") == [{"code": "LIMBO"}]
    assert ("LIMBO", "UNKNOWN") in cast.log_codes(entry.pk)
    assert state(entry)[0] == "UNKNOWN"


def test_one_beyond_the_brokers_memory_is_told(entry: Order, wire: runtime.Runtime) -> None:
    cast.pass_time(2 * 24 * 3600)
    sweeps.take_over("another")
    for _ in range(2):
        sweeps.ask_brokers(wire.wire)
        cast.pass_time(60)
    (told,) = cast.events("drift.found")
    assert (told["kind"], told["key"]) == (Code.BEYOND_LOOKUP, entry.client_order_id)


# ---- stuck at the broker -------------------------------------------------------------------------
def test_a_market_order_that_the_broker_does_not_end_is_asked_about(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    ticket = accepted(entry, broker)
    cast.pass_time(29)
    stuck.unstick()
    assert state(entry) == ("SUBMITTED", "", "")
    cast.pass_time(2)
    stuck.unstick()
    assert state(entry) == ("SUBMITTED", "STUCK", "")
    broker.execute(ticket)  # and its news were lost
    assert sweeps.ask_brokers(wire.wire) == 1
    assert state(entry) == ("FILLED", "", "")
    cast.pass_time(60)
    stuck.unstick()
    assert cast.events("order.stuck") == []


def test_one_that_stays_stuck_is_told_once(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    accepted(entry, broker)
    for _ in range(6):
        cast.pass_time(31)
        stuck.unstick()
        sweeps.ask_brokers(wire.wire)
    assert state(entry) == ("SUBMITTED", "STUCK_ESCALATED", "")
    assert cast.events("order.stuck") == [{"code": "STUCK_ESCALATED"}]
    assert broker.calls.count(("find_order", entry.client_order_id or "")) == 1


def test_the_preset_may_have_it_cancelled(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    TradingPreset.objects.update(stuck_policy="CANCEL")
    accepted(entry, broker)
    for _ in range(2):
        cast.pass_time(31)
        stuck.unstick()
        sweeps.ask_brokers(wire.wire)
    assert state(entry) == ("SUBMITTED", "STUCK_CANCELLED", "CANCEL")
    assert cast.events("order.stuck") == [{"code": "STUCK_CANCELLED"}]
    grant_wishes()
    assert state(entry)[0] == "CANCELLED"


def test_a_stuck_exit_is_told_and_never_taken_back(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double
) -> None:
    TradingPreset.objects.update(stuck_policy="CANCEL")
    position = cast.filled(cast.signal(feed))
    close_position(position.pk)
    cast.claim_all()
    leaving = Order.objects.get(leg="close-1")
    accepted(leaving, broker)
    for _ in range(2):
        cast.pass_time(31)
        stuck.unstick()
        sweeps.ask_brokers(wire.wire)
    assert state(leaving) == ("SUBMITTED", "STUCK_ESCALATED", "")


def test_a_limit_order_may_rest(
    alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime, broker: Double
) -> None:
    cast.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    cast.claim_all()
    order = Order.objects.get()
    accepted(order, broker)
    cast.pass_time(3600)
    stuck.unstick()
    assert state(order) == ("SUBMITTED", "", "")


def test_a_cancel_that_nobody_answers_is_asked_again_looked_up_and_told_once(
    entry: Order, wire: runtime.Runtime, broker: Double
) -> None:
    ticket = accepted(entry, broker)
    cancel_order(entry.pk)
    broker.cancelling = "silent"
    asked = []
    for until_the_next in (6, 11, 21, 31, 31, 31):
        grant_wishes()
        sweeps.ask_brokers(wire.wire)
        stuck.unstick()
        asked.append((len(broker.calls), len(cast.events("order.stuck"))))
        cast.pass_time(until_the_next)
    cancels = [name for name, _ in broker.calls if name == "cancel"]
    lookups = [name for name, _ in broker.calls if name == "find_order"]
    assert (len(cancels), len(lookups)) == (6, 4)  # from the third ask on
    assert [told for _, told in asked] == [0, 0, 0, 1, 1, 1]
    assert state(entry)[:2] == ("CANCEL_REQUESTED", "CANCEL_UNANSWERED")
    broker.end(ticket, "CANCELLED")  # told to nobody
    grant_wishes()
    sweeps.ask_brokers(wire.wire)
    assert state(entry)[0] == "CANCELLED"


# ---- never late ----------------------------------------------------------------------------------
def test_a_signal_whose_validity_passes_before_it_is_sent_is_expired_and_never_sent(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    cast.signal(feed, valid_until=market_now() + timedelta(seconds=30))
    cast.pass_time(31)
    assert cast.claim_all() == []
    order = Order.objects.get()
    assert (order.status, order.reason, order.submitted_at) == ("EXPIRED", "SIGNAL_EXPIRED", None)
    assert cast.events("order.expired")[0]["code"] == "SIGNAL_EXPIRED"
    assert broker.calls == []
