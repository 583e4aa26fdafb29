"""The database really goes back: dumps, copies of its folder, standbys. What happens at the broker
while it is forgotten stays with the broker: the double keeps its own books, in memory."""

import signal
from collections.abc import Iterator
from decimal import Decimal as D
from pathlib import Path

import pytest
from django.core.cache import cache
from django.utils import timezone

from brokers.messages import CloseCause
from common.sql import rows, run
from connections.models import ConnectionHealth, Epoch, ExecutionConnection
from execution.audit.counters import audit
from execution.calls import runtime, sweeps
from execution.drift.reconcile import reconcile
from execution.epochs import witness
from execution.epochs.epochs import MARK, release_epoch, settle
from execution.epochs.unsettled import unsettled
from execution.epochs.witness import Watch
from execution.exits.wishes import grant_wishes
from execution.models import DriftItem, Order
from execution.services import close_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.conftest import alice, broker, feed, no_bell, wire  # noqa: F401
from tests.execution.double import Double
from tests.faults import clusters
from tests.faults.clusters import Clusters

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
    pytest.mark.faults,
]


@pytest.fixture(autouse=True)
def var(tmp_path: Path, settings: object) -> Iterator[Path]:
    """Where witnesses are kept."""
    settings.FILLCAST_VAR = tmp_path  # type: ignore[attr-defined]
    cache.clear()
    yield tmp_path
    cache.clear()


@pytest.fixture
def servers() -> Iterator[Clusters]:
    made = Clusters()
    yield made
    made.stop()


def drawn() -> Watch:
    """A trading process that has been looking for some time."""
    watch = Watch()
    for _ in range(40):  # a server that crashed may be up to 32 marks ahead, never behind
        watch.look()
    return watch


def opened() -> list[str]:
    return list(Epoch.objects.filter(released_at=None).values_list("cause", flat=True))


def entries() -> dict[str, tuple[str, str]]:
    """State and reason of each entry, by its signal's external id."""
    found = Order.objects.filter(leg="entry").select_related("signal")
    return {str(o.signal.external_id): (o.status, o.reason) for o in found if o.signal}


class Story:
    """Trading before a backup, and on after it: what each row was then, and became since."""

    def __init__(self, feed: Feed, broker: Double, watch: Watch) -> None:  # noqa: F811
        self.feed, self.broker, self.watch = feed, broker, watch

    def until_the_backup(self) -> None:
        """Five entries, each in another state, and the exit of a half that waits."""
        cast.signal(self.feed, external_id="closed since")
        half = cast.signal(self.feed, external_id="to be halved")
        cast.fill_all()
        cast.signal(self.feed, external_id="filled since")
        (self.unanswered,) = cast.claim_all()
        cast.signal(self.feed, external_id="rested, filled since", order_type="LIMIT",
                    open_price=D("1.09"), sl=D("1.08"))  # fmt: skip
        (self.resting,) = cast.claim_all()
        cast.answer(self.resting, self.broker.rest(self.resting.request))
        cast.signal(self.feed, external_id="waited, sent since")
        close_position(ExecutionPosition.objects.get(signal=half).pk, fraction=D("0.5"))

    def since(self) -> None:
        """What the backup does not know."""
        broker = self.broker  # noqa: F811
        for _ in range(10):
            self.watch.look()
        cast.answer(self.unanswered, broker.fill_at_once(self.unanswered.request))
        ticket = next(t for t in broker.tickets if t.request == self.resting.request)
        cast.tell(broker.execute(ticket))
        cast.fill_all()  # the entry that waited, and the exit of a half
        cast.signal(self.feed, external_id="published since")
        cast.fill_all()
        close_position(position_of("closed since").pk)
        cast.fill_all()
        self.watch.look()
        self.sent = [t.request.client_order_id for t in broker.tickets]
        self.kept = {t.number: t.held for t in broker.tickets if t.held}
        assert len(self.sent) == 8

    def check_nothing_was_sent(self) -> None:
        tickets = self.broker.tickets
        assert [t.request.client_order_id for t in tickets] == self.sent, "something was sent"
        assert {t.number: t.held for t in tickets if t.held} == self.kept


def position_of(signal: str) -> ExecutionPosition:
    return ExecutionPosition.objects.get(signal__external_id=signal)


def go_on(wire: runtime.Runtime) -> None:  # noqa: F811
    """What each process does by itself, again and again."""
    for _ in range(3):
        cast.pass_time(70)
        sweeps.ask_brokers(wire.wire)
        reconcile()
        assert settle() == []
        grant_wishes()
        assert cast.claim_all() == []


def test_traded_on_restored_settled_released(
    tmp_path: Path, alice: ExecutionConnection, feed: Feed, broker: Double,  # noqa: F811
    wire: runtime.Runtime,  # noqa: F811
) -> None:  # fmt: skip
    """The whole story, with what each row was at the backup and what became of it since."""
    watch = Watch()
    watch.look()
    story = Story(feed, broker, watch)
    story.until_the_backup()
    backup = clusters.dump(tmp_path / "backup")
    story.since()

    clusters.restore(backup, clusters.url())
    assert set(entries()) == {
        "closed since", "to be halved", "filled since", "rested, filled since",
        "waited, sent since",
    }  # fmt: skip
    epoch = watch.look()
    assert epoch is not None
    assert (epoch.cause, epoch.number) == ("BEHIND", 2)
    assert cast.claim_all() == []
    Epoch.objects.update(answer_by=timezone.now())
    run("UPDATE execution_order SET answer_by = clock_timestamp()")

    go_on(wire)
    filled = ("closed since", "to be halved", "filled since", "rested, filled since")
    assert entries() == {
        **dict.fromkeys(filled, ("FILLED", "")),
        "waited, sent since": ("EXPIRED", "RESTORED_UNSENT"),
    }
    assert position_of("closed since").quantity == 0
    told = {one.what: one.count for one in unsettled(Epoch.objects.get(pk=2))}
    assert set(told) == {"DRIFT", "EXITS"}
    check_what_is_told(story)
    story.check_nothing_was_sent()
    counters = audit().counters
    assert (counters["DUP"], counters["RISEN"], counters["REVERSED"], counters["LOST"]) == (0,) * 4
    assert counters["ORPHAN"] > 0  # told, until somebody decides

    # a person decides each difference, and closes what is left by hand
    DriftItem.objects.update(state="IGNORED")
    run("UPDATE positions_executionposition SET quantity = 0, reserved = 0")
    release_epoch(by=None, by_name="anna", note="all looked at")
    cast.signal(feed, external_id="after")
    assert [one.is_entry for one in cast.claim_all()] == [True]


def check_what_is_told(story: Story) -> None:
    """Each order of which we have no row, and the position that is halved there."""
    forgotten = set(DriftItem.objects.filter(kind="FORGOTTEN_ORDER").values_list("key", flat=True))
    ours = set(
        Order.objects.exclude(client_order_id=None).values_list("client_order_id", flat=True)
    )
    assert forgotten == set(story.sent) - ours
    halved = position_of("to be halved")
    assert DriftItem.objects.get(kind="QUANTITY_DIFFERS").position_id == halved.pk


class TestItIsSeen:
    """By the same process, or by the next one, however it was restored."""

    @pytest.mark.parametrize("by", ["memory", "file", "redis"])
    def test_a_dump_restored_over_the_database(self, by: str, tmp_path: Path, var: Path) -> None:
        watch = Watch()
        watch.look()
        backup = clusters.dump(tmp_path / "backup")
        for _ in range(10):
            watch.look()
        clusters.restore(backup, clusters.url())
        if by != "file":
            (var / witness.FILE).unlink()
        if by != "redis":
            cache.clear()
        if by != "memory":
            watch = Watch()
        assert watch.look() is not None
        assert opened() == ["BEHIND"]

    def test_a_dump_restored_on_another_server(self, tmp_path: Path, servers: Clusters) -> None:
        watch = Watch()
        watch.look()
        backup = clusters.dump(tmp_path / "backup")
        for _ in range(10):
            watch.look()
        server = servers.filled("other", backup)
        with clusters.at(server.url):
            assert watch.look() is not None
            assert opened() == ["BEHIND"]

    def test_a_folder_put_back_and_a_standby_promoted(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        primary = servers.filled("primary", clusters.dump(tmp_path / "empty"))
        with clusters.at(primary.url):
            drawn()
        primary.stop()
        older = servers.copy(primary, "older")
        primary.start()
        with clusters.at(primary.url):
            before = drawn()
            assert opened() == []
        standby = servers.standby(primary, "standby")
        primary.stop()
        with clusters.at(standby.url):
            clusters.promote()
            promoted = Watch()
            epoch = promoted.look()
            assert epoch is not None
            assert epoch.cause == "PROMOTED"
            known, seen = epoch.evidence["known"], epoch.evidence["seen"]
            assert (known["timeline"], seen["timeline"]) == ("00000001", "00000002")
            assert seen["mark"] >= known["mark"]  # nothing was lost; nobody could know
            assert promoted.look() is None
        standby.stop()
        (tmp_path / witness.FILE).unlink()
        cache.clear()
        older.start()
        with clusters.at(older.url):
            assert before.look() is not None
            assert opened() == ["BEHIND"]


class TestItIsNot:
    """What looks alike and is none."""

    def test_restarted_crashed_moved_and_copied_with_everything_stopped(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        server = servers.filled("one", clusters.dump(tmp_path / "empty"))
        with clusters.at(server.url):
            drawn()
        server.stop()
        server.start()
        with clusters.at(server.url):
            assert Watch().look() is None
            watch = drawn()
        assert server.process is not None
        server.process.send_signal(signal.SIGQUIT)  # as after a power cut: it recovers
        server.process.wait(30)
        server.start()
        with clusters.at(server.url):
            assert (watch.look(), Watch().look()) == (None, None)
            backup = clusters.dump(tmp_path / "all of it")
        moved = servers.filled("two", backup)
        with clusters.at(moved.url):
            assert (watch.look(), Watch().look()) == (None, None)
            assert opened() == []

    def test_a_new_installation_beside_an_old_folder(
        self, tmp_path: Path, servers: Clusters
    ) -> None:
        backup = clusters.dump(tmp_path / "empty")  # before any process looked
        assert not Epoch.objects.exists()
        drawn()
        server = servers.filled("new", backup)
        with clusters.at(server.url):
            assert Watch().look() is None
            assert opened() == []


def test_a_crash_loses_no_witnessed_mark(tmp_path: Path, servers: Clusters) -> None:
    """What a witness holds was durable: each mark is on disk before it is told."""
    server = servers.filled("one", clusters.dump(tmp_path / "empty"))
    for _ in range(3):
        with clusters.at(server.url):
            watch = Watch()
            for _ in range(35):
                watch.look()
            marks = rows(f"SELECT last_value FROM {MARK}")[0].last_value
        assert server.process is not None
        server.process.kill()
        server.process.wait(30)
        server.start()
        with clusters.at(server.url):
            assert rows(f"SELECT last_value FROM {MARK}")[0].last_value >= marks


def test_exits_that_were_made_at_the_broker_since_are_told_once(
    tmp_path: Path, alice: ExecutionConnection, feed: Feed, broker: Double,  # noqa: F811
    wire: runtime.Runtime,  # noqa: F811
) -> None:  # fmt: skip
    watch = Watch()
    watch.look()
    position = cast.filled(cast.signal(feed))
    backup = clusters.dump(tmp_path / "backup")
    for _ in range(10):
        watch.look()
    broker.exit_by_itself(broker.tickets[0], CloseCause.STOP_LOSS, broker.tickets[0].held)
    clusters.restore(backup, clusters.url())
    watch.look()
    Epoch.objects.update(answer_by=timezone.now())
    for _ in range(3):
        cast.pass_time(70)
        reconcile()
        settle()
    position.refresh_from_db()
    assert position.quantity == 0
    assert ConnectionHealth.objects.filter(reconciled_at=None).count() == 0
    assert len(broker.tickets) == 2
