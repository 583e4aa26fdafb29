"""Cancels and moved levels, and what was faster than they."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import (
    CancelRequest,
    ChangeRequest,
    ModifyRequest,
    OrderTerms,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, LIMIT, D, bought, order, run, spec, submit

K = ReportKind
AGO = timedelta(hours=1)


def test_levels_are_set_removed_and_reported_when_unchanged(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    stop, target = D("1.09123"), D("1.12")
    request = ModifyRequest(CID, number, "EURUSD", stop, target)
    for _ in range(2):  # the second changes nothing (10025) and is as good
        (report,) = run(adapter.modify(spec(), request))
        assert (report.kind, report.stop_loss, report.take_profit) == (K.LEVELS, stop, target)
    (held,) = run(adapter.positions(spec()))
    assert (held.stop_loss, held.take_profit) == (stop, target)
    (report,) = run(adapter.modify(spec(), ModifyRequest(CID, number, "EURUSD", None, None)))
    assert (report.stop_loss, report.take_profit) == (None, None)
    assert run(adapter.positions(spec()))[0].stop_loss is None


def test_refused_level_has_the_symbol_read_again(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    venue.configure_symbol("EURUSD", trade_tick_size=0.0005)
    request = ModifyRequest(CID, number, "EURUSD", D("1.09123"), None)
    with pytest.raises(Rejected) as refused:
        run(adapter.modify(spec(), replace(request, stop_loss=D(2))))
    assert refused.value.code is Code.STOPS_INVALID
    (report,) = run(adapter.modify(spec(), request))
    assert report.stop_loss == D("1.0915")


def test_levels_of_a_waiting_entry_keep_its_price(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT))
    run(adapter.modify(spec(), ModifyRequest(CID, "", "EURUSD", D("1.04"), None)))
    (rests,) = run(adapter.open_orders(spec()))
    assert (rests.limit_price, rests.stop_loss) == (D("1.05"), D("1.04"))


@pytest.mark.parametrize(
    ("side", "stop", "held"),
    [(Side.BUY, "1.091231", "1.09124"), (Side.SELL, "1.111239", "1.11123")],
)
def test_stop_never_loses_more_than_requested(
    venue: FakeTerminal, adapter: Mt5Adapter, side: Side, stop: str, held: str
) -> None:
    number = bought(adapter, side=side)
    (report,) = run(adapter.modify(spec(), ModifyRequest(CID, number, "EURUSD", D(stop), None)))
    assert report.stop_loss == D(held)
    assert run(adapter.positions(spec()))[0].stop_loss == D(held)


def test_levels_without_a_position_are_refused(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    for number in ("", "4711", "x"):
        with pytest.raises(Rejected) as refused:
            run(adapter.modify(spec(), ModifyRequest(CID, number, "EURUSD", None, None)))
        assert refused.value.code is Code.NO_POSITION


def test_cancel_is_idempotent_and_found_by_lookup(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    request = order(**LIMIT)
    (accepted,) = submit(adapter, request)
    modify_request = CancelRequest(CID, accepted.broker_order_id, "EURUSD")
    assert K.CANCELLED in [report.kind for report in run(adapter.cancel(spec(), modify_request))]
    assert K.CANCELLED in [
        report.kind for report in run(adapter.cancel(spec(), modify_request))
    ]  # and again
    found = run(adapter.find_order(spec(), CID))
    assert found is not None
    assert [report.kind for report in found] == [K.ACCEPTED, K.CANCELLED]


def test_fill_before_the_cancel_wins(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    (accepted,) = submit(adapter, order(**LIMIT))
    venue.quote("EURUSD", 1.04, 1.04)
    report = run(adapter.cancel(spec(), CancelRequest(CID, accepted.broker_order_id, "EURUSD")))
    assert [item.kind for item in report] == [K.FILLED, K.CANCEL_REFUSED]


def test_fill_between_our_read_and_the_cancel_wins(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    submit(adapter, order(**LIMIT))
    venue.fault("order_send", "retcode", code=10013)
    report = run(adapter.cancel(spec(), CancelRequest(CID, "", "EURUSD")))
    assert [item.kind for item in report] == [K.ACCEPTED, K.CANCEL_REFUSED]


def test_order_that_an_exchange_has_not_removed_yet_is_not_cancelled(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """10008: the request is placed. The order may be executed before it is removed."""
    (accepted,) = submit(adapter, order(**LIMIT))
    venue.configure(removes_later=True)
    request = CancelRequest(CID, accepted.broker_order_id, "EURUSD")
    for _ in range(2):  # the second is no further request, and no refusal of the first
        assert [report.kind for report in run(adapter.cancel(spec(), request))] == [K.ACCEPTED]
    removals = [one for one in venue.state()["accepted"] if one["action"] == 8]
    assert len(removals) == 1
    venue.quote("EURUSD", 1.04, 1.04)
    reports = run(adapter.cancel(spec(), request))
    assert [report.kind for report in reports] == [K.FILLED, K.CANCEL_REFUSED]


def test_order_that_an_exchange_removes_later_is_cancelled_then(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    (accepted,) = submit(adapter, order(**LIMIT))
    venue.configure(removes_later=True)
    request = CancelRequest(CID, accepted.broker_order_id, "EURUSD")
    run(adapter.cancel(spec(), request))
    venue.control("end_order", login=1001, ticket=int(accepted.broker_order_id), state=2)
    kinds = [report.kind for report in run(adapter.cancel(spec(), request))]
    assert kinds == [K.ACCEPTED, K.CANCELLED]


# ---- price of a waiting entry -------------------------------------------------------------------
def change(kind: OrderType, terms: OrderTerms, present: OrderTerms) -> ChangeRequest:
    return ChangeRequest(
        CID, "", spec().connection_id, "EURUSD", Side.BUY, kind, terms=terms, present=present
    )


def test_changed_price_keeps_levels_and_lifetime(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT, stop_loss=D("1.03"), take_profit=D("1.2")))
    (before,) = run(adapter.open_orders(spec()))
    new = OrderTerms(before.quantity, D("1.04"))
    for _ in range(2):  # the second changes nothing (10025) and is as good
        (report,) = run(adapter.change_order(spec(), change(OrderType.LIMIT, new, before.terms)))
        assert (report.kind, report.terms) == (K.CHANGED, new)
    (rests,) = run(adapter.open_orders(spec()))
    assert rests == replace(before, limit_price=D("1.04"))


def test_both_prices_of_a_stop_limit_order_are_changed(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    prices: dict[str, Any] = {"stop_price": D("1.15"), "limit_price": D("1.14")}
    submit(adapter, order(order_type=OrderType.STOP_LIMIT, time_in_force=TimeInForce.GTC, **prices))
    (before,) = run(adapter.open_orders(spec()))
    new = OrderTerms(before.quantity, D("1.145"), D("1.16"))
    (report,) = run(adapter.change_order(spec(), change(OrderType.STOP_LIMIT, new, before.terms)))
    assert report.terms == new
    (rests,) = run(adapter.open_orders(spec()))
    assert (rests.limit_price, rests.stop_price) == (D("1.145"), D("1.16"))


def test_change_of_what_does_not_work_is_refused(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    old, new = OrderTerms(D(1000), D("1.05")), OrderTerms(D(1000), D("1.04"))
    with pytest.raises(Rejected) as refused:
        run(adapter.change_order(spec(), change(OrderType.LIMIT, new, old)))
    assert refused.value.code is Code.ORDER_ENDED


@pytest.mark.parametrize(("ask", "is_frozen"), [(1.05004, True), (1.05006, False)])
def test_waiting_order_near_the_price_is_frozen(
    venue: FakeTerminal, adapter: Mt5Adapter, ask: float, is_frozen: bool
) -> None:
    submit(adapter, order(**LIMIT))
    venue.configure_symbol("EURUSD", bid=ask - 0.0002, ask=ask)
    request = CancelRequest(CID, "", "EURUSD")
    kinds = [report.kind for report in run(adapter.cancel(spec(), request))]
    assert (K.CANCELLED in kinds) is not is_frozen
    if is_frozen:
        assert K.CANCEL_REFUSED in kinds
        venue.configure_symbol("EURUSD", bid=1.0998, ask=1.1)
        assert K.CANCELLED in [report.kind for report in run(adapter.cancel(spec(), request))]


def test_levels_near_the_price_are_frozen(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    run(adapter.modify(spec(), ModifyRequest(CID, number, "EURUSD", D("1.09"), None)))
    venue.configure_symbol("EURUSD", bid=1.09004, ask=1.0902)
    farther = ModifyRequest(CID, number, "EURUSD", D("1.08"), None)
    with pytest.raises(Rejected) as refused:
        run(adapter.modify(spec(), farther))
    assert refused.value.code is Code.LEVELS_FROZEN
    venue.configure_symbol("EURUSD", bid=1.09006, ask=1.0902)
    (report,) = run(adapter.modify(spec(), farther))
    assert report.stop_loss == D("1.08")
