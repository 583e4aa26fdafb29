"""Real restores of the database: dumps, copies of its folder, standbys. The fake broker keeps its
own books in memory, so it still has what the restored database does not.
"""

import signal
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone

from brokers.types import CloseCause
from common.db.sql import rows, run
from connections.models import ConnectionHealth, Epoch, ExecutionConnection
from execution.audit.counters import audit
from execution.base.high_water_mark import MARK_SEQUENCE
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.epochs import process_open_epoch, release_epoch
from execution.disaster_recovery.open_issues import list_open_issues
from execution.disaster_recovery.restore_detector import RestoreDetector
from execution.models import DriftItem, Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.reconciliation.reconcile import reconcile
from execution.recovery import sweeps
from execution.runtime import trading_runtime
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories
from tests.execution.conftest import (  # noqa: F401
    _alice,
    alice,
    broker,
    captured_enqueues,
    feed,
    runtime,
)
from tests.execution.fake_broker import FakeBroker
from tests.faults import postgres_clusters
from tests.faults.postgres_clusters import Clusters

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.faults,
]


@pytest.fixture(autouse=True)
def var(tmp_path: Path, settings: object) -> Iterator[Path]:
    """Return the folder of the high-water marks."""
    settings.FILLCAST_VAR = tmp_path  # type: ignore[attr-defined]
    cache.clear()
    yield tmp_path
    cache.clear()


@pytest.fixture
def servers() -> Iterator[Clusters]:
    clusters = Clusters()
    yield clusters
    clusters.stop()


def monitored() -> RestoreDetector:
    """Return the detector of a trading process that has checked for some time."""
    detector = RestoreDetector()
    for _ in range(40):  # after a crash the server may be up to 32 marks ahead, never behind
        detector.check()
    return detector


def opened() -> list[str]:
    return list(Epoch.objects.filter(released_at=None).values_list("cause", flat=True))


def entries() -> dict[str, tuple[str, str]]:
    """Return state and reason of each entry, by its signal's external id."""
    orders = Order.objects.filter(leg="entry").select_related("signal")
    return {str(o.signal.external_id): (o.status, o.reason) for o in orders if o.signal}


class TradingScenario:
    """Trading before and after a backup: each row's state at the backup, and since."""

    def __init__(self, feed: Feed, broker: FakeBroker, detector: RestoreDetector) -> None:  # noqa: F811
        self.feed, self.broker, self.detector = feed, broker, detector

    def until_the_backup(self) -> None:
        """Create five entries in different states, and a waiting exit of half a position."""
        factories.signal(self.feed, external_id="closed since")
        half = factories.signal(self.feed, external_id="to be halved")
        factories.fill_all()
        factories.signal(self.feed, external_id="filled since")
        (self.unanswered,) = factories.claim_all()
        factories.signal(self.feed, external_id="rested, filled since", order_type="LIMIT",
                    open_price=D("1.09"), sl=D("1.08"))  # fmt: skip
        (self.resting,) = factories.claim_all()
        factories.answer(self.resting, self.broker.rest(self.resting.request))
        factories.signal(self.feed, external_id="waited, sent since")
        close_position(ExecutionPosition.objects.get(signal=half).pk, fraction=D("0.5"))

    def since(self) -> None:
        """Trade after the backup."""
        broker = self.broker  # noqa: F811
        for _ in range(10):
            self.detector.check()
        factories.answer(self.unanswered, broker.fill_at_once(self.unanswered.request))
        ticket = next(t for t in broker.tickets if t.request == self.resting.request)
        factories.apply(broker.execute(ticket))
        factories.fill_all()  # the entry that waited, and the exit of a half
        factories.signal(self.feed, external_id="published since")
        factories.fill_all()
        close_position(position_of("closed since").pk)
        factories.fill_all()
        self.detector.check()
        self.sent = [t.request.client_order_id for t in broker.tickets]
        self.kept = {t.number: t.held for t in broker.tickets if t.held}
        assert len(self.sent) == 8

    def check_nothing_was_sent(self) -> None:
        tickets = self.broker.tickets
        assert [t.request.client_order_id for t in tickets] == self.sent, "something was sent"
        assert {t.number: t.held for t in tickets if t.held} == self.kept


def position_of(signal: str) -> ExecutionPosition:
    return ExecutionPosition.objects.get(signal__external_id=signal)


def go_on(runtime: trading_runtime.TradingRuntime) -> None:  # noqa: F811
    """Run the periodic jobs of all processes several times."""
    for _ in range(3):
        factories.pass_time(70)
        sweeps.query_unknown_orders(runtime.dispatcher)
        reconcile()
        assert process_open_epoch() == []
        process_pending_actions()
        assert factories.claim_all() == []


def test_restored_database_is_settled_and_released(
    tmp_path: Path, alice: ExecutionConnection, feed: Feed, broker: FakeBroker,  # noqa: F811
    runtime: trading_runtime.TradingRuntime,  # noqa: F811
) -> None:  # fmt: skip
    """The whole scenario, with each row's state at the backup and since."""
    detector = RestoreDetector()
    detector.check()
    scenario = TradingScenario(feed, broker, detector)
    scenario.until_the_backup()
    backup = postgres_clusters.dump(tmp_path / "backup")
    scenario.since()

    postgres_clusters.restore(backup, postgres_clusters.url())
    assert set(entries()) == {
        "closed since", "to be halved", "filled since", "rested, filled since",
        "waited, sent since",
    }  # fmt: skip
    epoch = detector.check()
    assert epoch is not None
    assert (epoch.cause, epoch.number) == ("BEHIND", 2)
    assert factories.claim_all() == []
    Epoch.objects.update(answer_by=timezone.now())
    run("UPDATE execution_order SET answer_by = clock_timestamp()")

    go_on(runtime)
    filled = ("closed since", "to be halved", "filled since", "rested, filled since")
    assert entries() == {
        **dict.fromkeys(filled, ("FILLED", "")),
        "waited, sent since": ("EXPIRED", "RESTORED_UNSENT"),
    }
    assert position_of("closed since").quantity == 0
    issues = {issue.code: issue.count for issue in list_open_issues(Epoch.objects.get(pk=2))}
    assert set(issues) == {"DRIFT", "EXITS"}
    check_drift_items(scenario)
    scenario.check_nothing_was_sent()
    counters = audit().counters
    assert (counters["DUP"], counters["RISEN"], counters["REVERSED"], counters["LOST"]) == (0,) * 4
    assert counters["ORPHAN"] > 0  # reported until an operator decides

    # an operator decides each drift item and closes the rest by hand
    DriftItem.objects.update(state="IGNORED")
    run("UPDATE positions_executionposition SET quantity = 0, reserved = 0")
    release_epoch(by=None, by_name="anna", note="all looked at")
    factories.signal(feed, external_id="after")
    assert [order.is_entry for order in factories.claim_all()] == [True]


def check_drift_items(scenario: TradingScenario) -> None:
    """Check that each order without a row, and the halved position, have a drift item."""
    forgotten = set(DriftItem.objects.filter(kind="FORGOTTEN_ORDER").values_list("key", flat=True))
    ours = set(
        Order.objects.exclude(client_order_id=None).values_list("client_order_id", flat=True)
    )
    assert forgotten == set(scenario.sent) - ours
    halved = position_of("to be halved")
    assert DriftItem.objects.get(kind="QUANTITY_DIFFERS").position_id == halved.pk


class TestRestoreIsDetected:
    """The same process or the next one detects it, however the database was restored."""

    @pytest.mark.parametrize("by", ["memory", "file", "redis"])
    def test_dump_restored_over_database_is_detected(
        self, by: str, tmp_path: Path, var: Path
    ) -> None:
        detector = RestoreDetector()
        detector.check()
        backup = postgres_clusters.dump(tmp_path / "backup")
        for _ in range(10):
            detector.check()
        postgres_clusters.restore(backup, postgres_clusters.url())
        if by != "file":
            (var / restore_detector.FILE).unlink()
        if by != "redis":
            cache.clear()
        if by != "memory":
            detector = RestoreDetector()
        assert detector.check() is not None
        assert opened() == ["BEHIND"]

    def test_dump_restored_on_another_server_is_detected(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        detector = RestoreDetector()
        detector.check()
        backup = postgres_clusters.dump(tmp_path / "backup")
        for _ in range(10):
            detector.check()
        server = servers.filled("other", backup)
        with postgres_clusters.at(server.url):
            assert detector.check() is not None
            assert opened() == ["BEHIND"]

    def test_restored_folder_and_promoted_standby_are_detected(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        primary = servers.filled("primary", postgres_clusters.dump(tmp_path / "empty"))
        with postgres_clusters.at(primary.url):
            monitored()
        primary.stop()
        older = servers.copy(primary, "older")
        primary.start()
        with postgres_clusters.at(primary.url):
            before = monitored()
            assert opened() == []
        standby = servers.standby(primary, "standby")
        primary.stop()
        with postgres_clusters.at(standby.url):
            postgres_clusters.promote()
            promoted = RestoreDetector()
            epoch = promoted.check()
            assert epoch is not None
            assert epoch.cause == "PROMOTED"
            known, seen = epoch.evidence["known"], epoch.evidence["seen"]
            assert (known["timeline"], seen["timeline"]) == ("00000001", "00000002")
            assert seen["mark"] >= known["mark"]  # nothing was lost, but no process can know that
            assert promoted.check() is None
        standby.stop()
        (tmp_path / restore_detector.FILE).unlink()
        cache.clear()
        older.start()
        with postgres_clusters.at(older.url):
            assert before.check() is not None
            assert opened() == ["BEHIND"]


class TestNoRestoreIsDetected:
    """Similar events that are no restore."""

    def test_restart_crash_move_and_copy_are_no_restore(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        server = servers.filled("one", postgres_clusters.dump(tmp_path / "empty"))
        with postgres_clusters.at(server.url):
            monitored()
        server.stop()
        server.start()
        with postgres_clusters.at(server.url):
            assert RestoreDetector().check() is None
            detector = monitored()
        assert server.process is not None
        server.process.send_signal(signal.SIGQUIT)  # as after a power cut: it recovers
        server.process.wait(30)
        server.start()
        with postgres_clusters.at(server.url):
            assert (detector.check(), RestoreDetector().check()) == (None, None)
            backup = postgres_clusters.dump(tmp_path / "all of it")
        moved = servers.filled("two", backup)
        with postgres_clusters.at(moved.url):
            assert (detector.check(), RestoreDetector().check()) == (None, None)
            assert opened() == []

    def test_new_installation_beside_old_folder(self, tmp_path: Path, servers: Clusters) -> None:
        backup = postgres_clusters.dump(tmp_path / "empty")  # before any process looked
        assert not Epoch.objects.exists()
        monitored()
        server = servers.filled("new", backup)
        with postgres_clusters.at(server.url):
            assert RestoreDetector().check() is None
            assert opened() == []


def test_crash_loses_no_witnessed_mark(tmp_path: Path, servers: Clusters) -> None:
    """A high-water mark is durable: it is on disk before a process stores it elsewhere."""
    server = servers.filled("one", postgres_clusters.dump(tmp_path / "empty"))
    for _ in range(3):
        with postgres_clusters.at(server.url):
            detector = RestoreDetector()
            for _ in range(35):
                detector.check()
            marks = rows(f"SELECT last_value FROM {MARK_SEQUENCE}")[0].last_value
        assert server.process is not None
        server.process.kill()
        server.process.wait(30)
        server.start()
        with postgres_clusters.at(server.url):
            assert rows(f"SELECT last_value FROM {MARK_SEQUENCE}")[0].last_value >= marks


def test_exits_at_broker_since_backup_are_reported_once(
    tmp_path: Path, alice: ExecutionConnection, feed: Feed, broker: FakeBroker,  # noqa: F811
    runtime: trading_runtime.TradingRuntime,  # noqa: F811
) -> None:  # fmt: skip
    detector = RestoreDetector()
    detector.check()
    position = factories.filled(factories.signal(feed))
    backup = postgres_clusters.dump(tmp_path / "backup")
    for _ in range(10):
        detector.check()
    broker.close_at_broker(broker.tickets[0], CloseCause.STOP_LOSS, broker.tickets[0].held)
    postgres_clusters.restore(backup, postgres_clusters.url())
    detector.check()
    Epoch.objects.update(answer_by=timezone.now())
    for _ in range(3):
        factories.pass_time(70)
        reconcile()
        process_open_epoch()
    position.refresh_from_db()
    assert position.quantity == 0
    assert ConnectionHealth.objects.filter(reconciled_at=None).count() == 0
    assert len(broker.tickets) == 2
