"""What the server does to a position by itself: rollovers, variation margin, splits, and closes by
a corporate action."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.mt5.constants import Reason
from brokers.mt5.server_deals import closed_lots
from brokers.types import CloseCause, OrderReport, ReportKind, Side
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, EXIT, LIMIT, D, bought, kinds, order, run, spec, submit
from tests.mt5.test_parse import deal

LOGIN = 1001
BY_SERVER = [7, 8, 9, 10]
UNKNOWN_REASON = 11  # that MetaTrader may add one day
LONG_AGO = 120  # seconds, after which a reopening would have followed


def fills(adapter: Mt5Adapter, **settings: Any) -> list[OrderReport]:
    return run(adapter.fills_since(spec(**settings), datetime.now(UTC) - timedelta(hours=1)))


def quantities(
    adapter: Mt5Adapter, **settings: Any
) -> dict[tuple[str, CloseCause | None], Decimal]:
    """Return what was executed, by client order id and close cause."""
    found: dict[tuple[str, CloseCause | None], Decimal] = defaultdict(Decimal)
    for report in fills(adapter, **settings):
        for fill in report.fills:
            found[report.client_order_id, report.close_cause] += fill.quantity
    return found


@pytest.mark.parametrize("has_mark", [True, False])
@pytest.mark.parametrize("reason", [*BY_SERVER, UNKNOWN_REASON])
def test_reopened_position_has_neither_grown_nor_closed(
    venue: FakeTerminal, adapter: Mt5Adapter, reason: int, *, has_mark: bool
) -> None:
    """A sell of the server that closes for a moment is no second buy of the entry."""
    position = bought(adapter)
    venue.control(
        "reopen", login=LOGIN, reason=reason, closed=0.1, again=0.1, has_mark=has_mark,
        seconds_ago=LONG_AGO,
    )  # fmt: skip
    assert quantities(adapter) == {(CID, None): D(10_000)}
    (held,) = run(adapter.positions(spec()))
    assert (held.broker_position_id, held.quantity) == (position, D(10_000))
    assert kinds(adapter) == [ReportKind.FILLED]


def test_reopened_position_closes_by_our_exit(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """Two nights, then an exit: the server names the position by its new ticket."""
    position = bought(adapter)
    for _ in range(2):
        venue.control("reopen", login=LOGIN, reason=Reason.ROLLOVER, closed=0.1, again=0.1)
    submit(adapter, order(EXIT, side=Side.SELL, broker_position_id=position, reduce_only=True))
    assert run(adapter.positions(spec())) == []
    assert quantities(adapter) == {(CID, None): D(10_000), (EXIT, None): D(10_000)}


@pytest.mark.parametrize("has_mark", [True, False])
@pytest.mark.parametrize("reason", [*BY_SERVER, UNKNOWN_REASON])
def test_position_that_the_server_closes_is_closed_by_others(
    venue: FakeTerminal, adapter: Mt5Adapter, reason: int, *, has_mark: bool
) -> None:
    position = bought(adapter)
    venue.control(
        "reopen", login=LOGIN, reason=reason, closed=0.1, again=0, has_mark=has_mark,
        seconds_ago=LONG_AGO,
    )  # fmt: skip
    assert quantities(adapter) == {
        (CID, None): D(10_000), (CID, CloseCause.EXTERNAL): D(10_000),
    }  # fmt: skip
    (closed,) = [report for report in fills(adapter) if report.close_cause]
    assert closed.broker_position_id == position
    assert closed.broker_order_id


def test_part_that_is_not_opened_again_is_closed(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    venue.control(
        "reopen", login=LOGIN, reason=Reason.SPLIT, closed=0.1, again=0.06, seconds_ago=LONG_AGO
    )
    assert quantities(adapter)[CID, CloseCause.EXTERNAL] == D(4_000)


@pytest.mark.parametrize("zone", ["UTC+1", "UTC+2", "UTC+3"])
def test_close_waits_for_the_opening_that_may_belong_to_it(
    venue: FakeTerminal, adapter: Mt5Adapter, zone: str
) -> None:
    """The terminal is read between the server's two deals: the position must not end. The zone of
    the settings may be an hour off, as ticks then show."""
    venue.configure(zone_seconds=2 * 3600)
    for _ in range(2):
        run(adapter.quote(spec(server_timezone=zone), "EURUSD"))
    bought(adapter)
    venue.control("reopen", login=LOGIN, reason=Reason.ROLLOVER, closed=0.1, again=0)
    assert quantities(adapter, server_timezone=zone) == {(CID, None): D(10_000)}
    deals = venue.state()["deals"]
    old = [{**one, "time_msc": one["time_msc"] - 1000 * LONG_AGO} for one in deals]
    venue.configure_account(deals=old)
    closed = quantities(adapter, server_timezone=zone)
    assert closed[CID, CloseCause.EXTERNAL] == D(10_000)


def test_close_of_a_position_of_others_names_no_order(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    theirs = [{**one, "magic": 0, "comment": ""} for one in venue.state()["deals"]]
    venue.configure_account(deals=theirs)
    venue.control(
        "reopen", login=LOGIN, reason=Reason.ROLLOVER, closed=0.1, again=0, seconds_ago=LONG_AGO
    )
    assert quantities(adapter) == {("", CloseCause.EXTERNAL): D(10_000)}


def test_deal_of_the_server_proves_that_its_order_existed(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """Its magic number is that of the entry, which must then not be sent a second time."""
    bought(adapter)
    venue.control("reopen", login=LOGIN, reason=Reason.ROLLOVER, closed=0.1, again=0)
    (_, close) = venue.state()["deals"]
    venue.configure_account(deals=[close], history=[])
    with pytest.raises(ReadFailed, match="its deal"):
        kinds(adapter)


def test_working_order_changed_by_phone_stays_ours(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    """The reason is who placed an order, not who changed its price."""
    submit(adapter, order(**LIMIT))
    (waiting,) = venue.state()["orders"]
    venue.configure_account(orders=[{**waiting, "price_open": 1.07}])
    venue.quote("EURUSD", 1.0699, 1.07)
    fresh = create()
    assert quantities(fresh) == {(CID, None): D(10_000)}
    assert kinds(fresh) == [ReportKind.FILLED]
    run(fresh.disconnect())


def server_deal(ticket: int, entry: int, volume: float, at: int) -> Any:
    return deal(ticket=ticket, entry=entry, volume=volume, time_msc=at, reason=Reason.ROLLOVER)


def test_opening_belongs_to_the_nearest_close() -> None:
    """A part was closed for good on Monday; Tuesday's rollover does not undo it."""
    deals = [
        deal(),
        server_deal(11, 1, 0.05, 1_000), server_deal(12, 1, 0.05, 9_000),
        server_deal(13, 0, 0.05, 9_000),
    ]  # fmt: skip
    assert closed_lots(deals) == {11: D("0.05")}


def test_close_in_pieces_is_opened_again_at_once() -> None:
    deals = [server_deal(11, 1, 0.04, 5), server_deal(12, 1, 0.06, 5), server_deal(13, 0, 0.1, 5)]
    assert closed_lots(deals) == {}


def test_split_that_opens_more_leaves_nothing_closed() -> None:
    assert closed_lots([server_deal(11, 1, 0.1, 5), server_deal(12, 0, 0.2, 5)]) == {}
