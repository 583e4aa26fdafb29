"""Reads and look-ups while the terminal's data is late, partial or changed."""

from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import ReadFailed
from brokers.mt5.adapter import Mt5Adapter, create
from brokers.types import (
    ReportKind,
)
from tests.fakes.mt5.fake_terminal import FakeTerminal
from tests.mt5.factories import CID, LIMIT, bought, kinds, order, run, spec, submit

pytestmark = pytest.mark.usefixtures("venue")

K = ReportKind
AGO = timedelta(hours=1)


@pytest.mark.parametrize("call", ["orders_get", "history_orders_get", "positions_get"])
@pytest.mark.parametrize("do", ["none", "drop"])
def test_absence_is_not_reported_after_a_failed_read(
    venue: FakeTerminal, adapter: Mt5Adapter, call: str, do: str
) -> None:
    venue.fault(call, do, code=-10005)
    with pytest.raises(ReadFailed):
        run(adapter.find_order(spec(), CID))
    assert kinds(adapter) is None


def test_none_without_an_error_is_trusted_only_with_a_count(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("positions_get", "none", code=1)
    assert run(adapter.positions(spec())) == []
    bought(adapter)
    venue.fault("positions_get", "none", code=1)
    with pytest.raises(ReadFailed):
        run(adapter.positions(spec()))


def test_absence_needs_time_after_a_login_and_after_the_send(adapter: Mt5Adapter) -> None:
    slow = spec(settle_seconds=3600)
    with pytest.raises(ReadFailed, match="too soon"):
        run(adapter.find_order(slow, CID))


def test_order_seen_by_its_deal_only_is_not_absent(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    bought(adapter)
    venue.fault("history_orders_get", "empty")
    with pytest.raises(ReadFailed, match="its deal"):
        run(adapter.find_order(spec(), CID))


def test_order_not_accepted_yet_is_not_reported(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    submit(adapter, order(**LIMIT))
    rows = venue.state()["orders"]
    venue.configure_account(orders=[{**rows[0], "state": 0}])
    with pytest.raises(ReadFailed, match="not accepted it yet"):
        run(adapter.find_order(spec(), CID))


def test_deal_that_comes_late(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    venue.control("hide_deals", login=1001, hide=True)
    (report,) = submit(adapter, order())
    assert report.kind is K.ACCEPTED
    assert kinds(adapter) == [K.ACCEPTED]
    assert run(adapter.fills_since(spec(), datetime.now(UTC) - AGO)) == []
    venue.control("hide_deals", login=1001, hide=False)
    assert kinds(adapter) == [K.FILLED]
    later = datetime.now(UTC) + timedelta(minutes=20)  # asked from a time that is past it
    assert [r.client_order_id for r in run(adapter.fills_since(spec(), later))] == [CID]


def test_replayed_executions_have_the_same_ids(adapter: Mt5Adapter) -> None:
    (report,) = submit(adapter, order())
    for _ in range(2):
        (again,) = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
        assert again.fills == report.fills


def test_history_that_cannot_be_read_after_the_send_is_no_failure(
    venue: FakeTerminal, adapter: Mt5Adapter
) -> None:
    venue.fault("history_orders_get", "none", code=-10005)
    (report,) = submit(adapter, order())
    assert report.kind is K.ACCEPTED
    assert report.broker_order_id


@pytest.mark.parametrize(("cut", "text"), [(10, ""), (0, "from dealer"), (31, "")])
def test_comment_cut_or_rewritten(
    venue: FakeTerminal, adapter: Mt5Adapter, cut: int, text: str
) -> None:
    venue.control("comments", login=1001, cut=cut, text=text)
    number = bought(adapter)
    assert run(adapter.positions(spec()))[0].client_order_id == CID
    reports = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [(r.client_order_id, r.broker_position_id) for r in reports] == [(CID, number)]


def test_rewritten_comment_after_a_restart(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    """Another process finds the order by its id and attributes the deal to no other."""
    venue.control("comments", login=1001, cut=0, text="from dealer")
    bought(adapter)
    fresh = create()
    assert run(fresh.fills_since(spec(), datetime.now(UTC) - AGO)) == []
    assert [p.client_order_id for p in run(fresh.positions(spec()))] == [""]
    found = run(fresh.find_order(spec(), CID))
    assert found is not None
    assert [r.kind for r in found] == [K.FILLED]
    assert run(fresh.find_order(spec(), "fcxneverneverneve0")) is None
    run(fresh.disconnect())


def test_removed_magic_number(venue: FakeTerminal, adapter: Mt5Adapter) -> None:
    bought(adapter)
    shown = venue.state()
    venue.configure_account(
        history=[{**one, "magic": 0} for one in shown["history"]],
        deals=[{**one, "magic": 0} for one in shown["deals"]],
    )
    assert kinds(adapter) == [K.FILLED]
    reports = run(adapter.fills_since(spec(), datetime.now(UTC) - AGO))
    assert [(r.client_order_id, r.close_cause) for r in reports] == [(CID, None)]


def test_two_orders_under_one_id_are_both_reported(adapter: Mt5Adapter) -> None:
    bought(adapter)
    bought(adapter)
    assert kinds(adapter) == [K.FILLED, K.FILLED]
