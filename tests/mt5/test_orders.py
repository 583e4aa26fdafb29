"""Orders, exits and reads against the fake terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from brokers.base import Rejected
from brokers.mt5.adapter import Mt5Adapter
from brokers.mt5.order_ids import magic_of
from brokers.types import (
    CloseCause,
    HeldLevels,
    OrderType,
    ReportKind,
    Side,
    TimeInForce,
)
from common.reason_codes import Code
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, EXIT, LIMIT, D, bought, order, run, spec, submit

pytestmark = pytest.mark.usefixtures("venue")

OTHER = "fcxotherotherothe0"
K = ReportKind
AGO = timedelta(hours=1)


def test_market_order_is_filled_in_base_units(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    (report,) = submit(adapter, order(stop_loss=D("1.09"), take_profit=D("1.12")))
    assert report.kind is K.FILLED
    (fill,) = report.fills
    assert (fill.quantity, fill.price) == (D(10_000), D("1.1001"))
    assert (fill.commission, fill.commission_currency) == (D("0.35"), "USD")
    assert abs(fill.time - datetime.now(UTC)) < timedelta(minutes=20)
    sent = venue.state()["accepted"][0]
    assert (sent["volume"], sent["magic"], sent["comment"]) == (0.1, magic_of(CID), CID)
    assert (sent["sl"], sent["tp"], sent["type_filling"]) == (1.09, 1.12, 1)


def test_levels_dropped_by_the_server_are_reported(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.configure_account(drop_levels=True)
    (filled,) = submit(adapter, order(stop_loss=D("1.09")))
    assert filled.kind is K.FILLED
    assert filled.levels == HeldLevels(None, None)  # not refused: it is placed again next
    (filled,) = submit(adapter, order("fcxother0000000000"))  # it wanted none
    venue.fault("positions_get", "none", code=-10005)
    (filled,) = submit(adapter, order("fcxthird0000000000", stop_loss=D("1.09")))
    assert filled.levels is None  # the levels could not be read


def test_fill_in_pieces_has_an_id_for_each(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.configure_account(pieces=2)
    (report,) = submit(adapter, order())
    assert [f.quantity for f in report.fills] == [5_000, 5_000]
    assert len({f.broker_fill_id for f in report.fills}) == 2
    again = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [one.fills for one in again] == [report.fills]


@pytest.mark.parametrize("state", [2, 4])
def test_partly_filled_order_reports_its_remainder_as_cancelled(
    venue: FakeTerminal, adapter: Mt5Adapter, state: int
) -> None:
    """Its state in the history is CANCELED, or at some brokers FILLED all the same."""
    venue.configure_account(fill_share=0.3, partial_state=state)
    filled, rest = submit(adapter, order())
    assert (filled.kind, filled.fills[0].quantity) == (K.FILLED, D(3_000))
    assert rest.kind is K.CANCELLED


@pytest.mark.parametrize(
    ("symbol", "wanted", "filling"),
    [
        ("EURUSD", TimeInForce.GTC, 1),
        ("EURUSD", TimeInForce.FOK, 0),
        ("EURUSD.m", TimeInForce.IOC, 0),  # the symbol allows only FOK (mask 1, enumeration 0)
        ("USDJPY", TimeInForce.IOC, 0),  # instant execution
        ("US500", TimeInForce.GTC, 2),  # exchange execution without either bit
    ],
)
def test_filling_by_mask_and_execution(
    venue: FakeTerminal, adapter: Mt5Adapter, symbol: str, wanted: TimeInForce, filling: int
) -> None:
    quantity = D(1) if symbol == "US500" else D(1_000)
    submit(adapter, order(symbol=symbol, time_in_force=wanted, quantity=quantity))
    assert venue.state()["accepted"][0]["type_filling"] == filling


def test_unsupported_filling_is_refused_before_sending(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(symbol="US500", time_in_force=TimeInForce.FOK, quantity=D(1)))
    assert refused.value.code is Code.ORDER_TYPE_UNSUPPORTED
    assert venue.accepted() == []


@pytest.mark.parametrize(
    ("side", "order_type", "price", "kind"),
    [
        (Side.BUY, OrderType.LIMIT, "1.05", 2),
        (Side.SELL, OrderType.LIMIT, "1.15", 3),
        (Side.BUY, OrderType.STOP, "1.15", 4),
        (Side.SELL, OrderType.STOP, "1.05", 5),
    ],
)
def test_pending_order_works_fills_and_is_found(
    venue: FakeTerminal,
    adapter: Mt5Adapter,
    side: Side,
    order_type: OrderType,
    price: str,
    kind: int,
) -> None:
    at = D(price)
    field = "limit_price" if order_type is OrderType.LIMIT else "stop_price"
    prices: dict[str, Any] = {field: at}
    request = order(side=side, order_type=order_type, time_in_force=TimeInForce.DAY, **prices)
    (accepted,) = submit(adapter, request)
    assert accepted.kind is K.ACCEPTED
    sent = venue.state()["accepted"][0]
    assert (sent["type"], sent["type_time"], sent["type_filling"]) == (kind, 1, 2)
    (rests,) = run(adapter.open_orders(spec()))
    assert (rests.client_order_id, rests.side, rests.order_type) == (CID, side, order_type)
    assert (rests.quantity, rests.filled) == (D(10_000), D(0))
    assert {rests.limit_price, rests.stop_price} == {at, None}
    bid = float(price)
    venue.quote("EURUSD", bid, bid)
    found = run(adapter.find_order(spec(), CID))
    assert found is not None
    assert [report.kind for report in found] == [K.FILLED]
    assert found[0].broker_order_id == accepted.broker_order_id
    assert run(adapter.open_orders(spec())) == []


def test_pending_order_cannot_be_immediate(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(order_type=OrderType.LIMIT, limit_price=D("1.05")))
    assert refused.value.code is Code.ORDER_TYPE_UNSUPPORTED
    assert venue.accepted() == []


def test_exit_closes_by_its_ticket_and_nothing_else(adapter: Mt5Adapter) -> None:
    first, second = bought(adapter), bought(adapter, client_order_id="fcxother0000000000")
    request = order(
        EXIT, side=Side.SELL, reduce_only=True, broker_position_id=first, quantity=D(4_000)
    )
    (report,) = submit(adapter, request)
    assert (report.kind, report.broker_position_id) == (K.FILLED, first)
    held = {p.broker_position_id: p.quantity for p in run(adapter.positions(spec()))}
    assert held == {first: 6_000, second: 10_000}


def test_exit_finds_the_ticket_that_changed_overnight(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    venue.control("change_ticket", login=1001, ticket=int(number), new=999_999)
    submit(adapter, order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number))
    assert venue.state()["accepted"][-1]["position"] == 999_999
    assert run(adapter.positions(spec())) == []


def test_exit_of_a_closed_position_is_refused_by_the_server(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    number = bought(adapter)
    venue.control("close", login=1001, ticket=int(number), reason=0, comment="", magic=0)
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number))
    assert refused.value.code is Code.NO_POSITION
    assert run(adapter.positions(spec())) == []


def test_exit_beyond_what_is_open_is_refused_by_the_server(adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    beyond = order(
        EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number, quantity=D(20_000)
    )
    with pytest.raises(Rejected) as refused:
        submit(adapter, beyond)
    assert refused.value.code is Code.VOLUME_INVALID
    assert [p.quantity for p in run(adapter.positions(spec()))] == [10_000]


def test_exit_off_the_step_is_refused_by_the_server_alone(adapter: Mt5Adapter) -> None:
    number = bought(adapter)
    part = order(
        EXIT, side=Side.SELL, reduce_only=True, broker_position_id=number, quantity=D(5_500)
    )
    with pytest.raises(Rejected) as refused:
        submit(adapter, part)
    assert (refused.value.code, refused.value.detail[:5]) == (Code.VOLUME_INVALID, "10014")


def test_exit_without_a_ticket_is_not_sent_on_a_hedging_account(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(EXIT, side=Side.SELL, reduce_only=True))
    assert refused.value.code is Code.NO_POSITION
    assert venue.accepted() == [CID]


def test_expired_order(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    (accepted,) = submit(adapter, order(**{**LIMIT, "time_in_force": TimeInForce.DAY}))
    venue.control("end_order", login=1001, ticket=int(accepted.broker_order_id), state=6)
    found = run(adapter.find_order(spec(), CID))
    assert found is not None
    assert [(reports.kind, reports.code) for reports in found][-1] == (
        K.EXPIRED,
        Code.TIME_IN_FORCE_ENDED,
    )


@pytest.mark.parametrize(
    ("bid", "cause"), [(1.08, CloseCause.STOP_LOSS), (1.13, CloseCause.TAKE_PROFIT)]
)
def test_exit_by_the_broker_names_the_entry(
    venue: FakeTerminal, adapter: Mt5Adapter, bid: float, cause: CloseCause
) -> None:
    number = bought(adapter, stop_loss=D("1.09"), take_profit=D("1.12"))
    venue.quote("EURUSD", bid, bid + 0.0001)
    reports = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [report.close_cause for report in reports] == [None, cause]
    made = reports[1]
    assert (made.client_order_id, made.broker_position_id) == (CID, number)
    assert (made.fills[0].quantity, made.fills[0].price) == (D(10_000), D(str(bid)))
    found = run(adapter.find_order(spec(), CID))
    assert found is not None  # its stop's order has our magic number too and is not the entry
    assert [report.fills for report in found] == [reports[0].fills]


@pytest.mark.parametrize(
    ("reason", "magic", "cause"),
    [
        *((*made, CloseCause.EXTERNAL) for made in ((0, 0), (1, 0), (0, None), (3, 4711), (3, 0))),
        (6, None, CloseCause.STOP_OUT),
    ],
)
def test_exit_by_others_states_who_made_it(
    venue: FakeTerminal, adapter: Mt5Adapter, reason: int, magic: int | None, cause: CloseCause
) -> None:
    """By hand, by phone, with our magic number kept, by other programs, by stop out."""
    number = bought(adapter)
    venue.control(
        "close", login=1001, ticket=int(number), reason=reason, comment=CID, magic=magic,
        volume=0.04,
    )  # fmt: skip
    reports = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [(report.close_cause, report.client_order_id) for report in reports] == [
        (None, CID),
        (cause, CID),
    ]
    assert reports[1].fills[0].quantity == 4_000


@pytest.mark.parametrize("is_first", [True, False])
def test_positions_that_the_owner_closed_by_each_other_are_both_closed(
    venue: FakeTerminal, adapter: Mt5Adapter, *, is_first: bool
) -> None:
    """One order of the server has a deal for each of them."""
    long = bought(adapter)
    (report,) = submit(adapter, order(OTHER, side=Side.SELL, quantity=D(4_000)))
    tickets = [int(long), int(report.broker_position_id)]
    ticket, opposite = tickets if is_first else tickets[::-1]
    venue.control("close_by", login=1001, ticket=ticket, opposite=opposite)
    reports = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert {
        (one.client_order_id, one.broker_position_id, sum(fill.quantity for fill in one.fills))
        for one in reports
        if one.close_cause is CloseCause.EXTERNAL
    } == {(CID, long, D(4_000)), (OTHER, report.broker_position_id, D(4_000))}
    (held,) = run(adapter.positions(spec()))
    assert (held.broker_position_id, held.quantity) == (long, D(6_000))


def test_positions_and_account(adapter: Mt5Adapter) -> None:
    number = bought(adapter, stop_loss=D("1.09"))
    (held,) = run(adapter.positions(spec()))
    assert (held.broker_position_id, held.client_order_id) == (number, CID)
    assert (held.side, held.quantity, held.entry_price) == (Side.BUY, D(10_000), D("1.1001"))
    assert held.opened_at is not None
    state = run(adapter.account(spec()))
    assert (state.currency, state.balance, state.leverage) == ("USD", D(10_000), D(30))
    assert state.trading_allowed
    assert state.free_margin == state.equity - state.margin_used


def test_instruments(adapter: Mt5Adapter) -> None:
    found = {i.symbol: i for i in run(adapter.instruments(spec(symbols={"US500": "SPX/USD"})))}
    assert "OLD" not in found
    euro = found["EURUSD.m"]
    assert (euro.pair, euro.contract_size, euro.pip) == ("EUR/USD", D(100_000), D("0.0001"))
    assert (euro.quantity_min, euro.quantity_step) == (D(1_000), D(1_000))
    assert (euro.stops_level, euro.freeze_level) == (D("0.0001"), D("0.00005"))
    assert found["USDJPY"].pip == D("0.01")
    assert (found["US500"].pair, found["US500"].quantity_max) == ("SPX/USD", D(100))


@pytest.mark.parametrize("quantity", ["500", "10500", "20000000", "1234.5"])
def test_quantity_off_the_step_is_refused_not_rounded(
    venue: FakeTerminal, adapter: Mt5Adapter, quantity: str
) -> None:
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(quantity=D(quantity)))
    assert refused.value.code is Code.VOLUME_INVALID
    assert venue.accepted() == []


def test_unknown_symbol(adapter: Mt5Adapter) -> None:
    with pytest.raises(Rejected) as refused:
        submit(adapter, order(symbol="EURUSD-x"))
    assert refused.value.code is Code.UNKNOWN_SYMBOL_AT_BROKER
