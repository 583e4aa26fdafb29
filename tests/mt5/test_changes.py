"""Cancels and moved levels, and what was faster than they."""

from datetime import timedelta

import pytest

from brokers.base import Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.types import (
    CancelRequest,
    ModifyRequest,
    ReportKind,
    Side,
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
