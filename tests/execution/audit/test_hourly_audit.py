"""The hourly audit: the signals of a day, and all live rows."""

from datetime import timedelta

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.audit.counters import recent
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.audit.checks import entry, nonzero_counters
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


class TestOldSignals:
    """The hourly audit checks the signals of a day and all live rows."""

    @pytest.fixture(autouse=True)
    def old(self, signal: Signal) -> None:
        Signal.objects.update(published_at=market_now() - timedelta(days=3))

    def found(self) -> dict[str, int]:
        report = recent()
        assert report.signals == 0
        return {name: n for name, n in report.counters.items() if n}

    def test_hourly_audit_reports_nothing_when_all_is_well(self) -> None:
        assert self.found() == {}

    @pytest.mark.parametrize(
        ("row", "counter"),
        [
            ("status = 'PENDING', due_at = NULL, done_at = NULL", "LOST"),
            ("status = 'SUBMITTING', answer_by = clock_timestamp() - interval '61 s'", "LOST"),
            ("status = 'UNKNOWN', lookup_after = NULL", "LOST"),
            ("pending_action = 'CLOSE', due_at = NULL", "LOST"),
            (
                "close_fraction = 0.5, close_offset = 0, done_at = clock_timestamp()"
                " - interval '61 s'",
                "LOST",
            ),
            (
                "status = 'UNKNOWN', lookup_after = clock_timestamp(),"
                " answer_by = clock_timestamp() - interval '1 hour'",
                "LIMBO",
            ),
        ],
    )
    def test_hourly_audit_counts_orders(
        self, row: str, counter: str, alice: ExecutionConnection
    ) -> None:
        factories.force(f"UPDATE execution_order SET {row} WHERE id = {entry(alice).pk}")
        factories.force(
            "UPDATE positions_executionposition"
            " SET last_activity_at = last_activity_at - interval '61 s'"
        )
        assert self.found() == {counter: 1}

    def test_hourly_audit_counts_positions(
        self, alice: ExecutionConnection, broker: FakeBroker
    ) -> None:
        ExecutionPosition.objects.filter(connection=alice).update(sl_guardian="")
        factories.pass_time(6)
        assert self.found() == {"NAKED": 1}
        (lot,) = (t for t in broker.tickets if t.request.connection_id == str(alice.pk))
        lot.held = lot.request.quantity * 0
        assert self.found() == {"NAKED": 1, "GHOST": 1}

    def test_one_signal_is_checked_alone(self, feed: Feed, alice: ExecutionConnection) -> None:
        factories.force(
            f"UPDATE execution_order SET status = 'UNKNOWN' WHERE id = {entry(alice).pk}"
        )
        ExecutionPosition.objects.update(sl_guardian="")
        factories.pass_time(6)
        other = factories.signal(feed)
        factories.fill_all()
        assert nonzero_counters(other.pk) == {}
