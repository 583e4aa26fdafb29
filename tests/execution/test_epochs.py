"""A database that has forgotten its newest rows: nothing is sent again, nothing is hidden."""

import json
from datetime import timedelta
from decimal import Decimal as D
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from brokers.messages import CloseCause
from common.codes import Code
from common.errors import ConflictError, InvalidInputError
from common.sql import rows, run
from connections.models import ConnectionHealth, Epoch, ExecutionConnection, KillSwitch
from connections.services import release_kill_switch
from execution.audit.counters import audit
from execution.calls import runtime, sweeps
from execution.drift import decisions as drift_decisions
from execution.drift.reconcile import reconcile
from execution.epochs.epochs import open_epoch, present_epoch, release_epoch, settle
from execution.epochs.unsettled import unsettled
from execution.models import DriftItem, Order
from execution.services import cancel_order, close_position, retry_order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import cast
from tests.execution.double import Double

pytestmark = pytest.mark.django_db


def restored(**fields: object) -> Epoch:
    """An epoch, begun so long ago that nobody of the life before can still be sending."""
    epoch = open_epoch(Epoch.Cause.COMMAND, **fields)  # type: ignore[arg-type]
    Epoch.objects.filter(pk=epoch.pk).update(answer_by=timezone.now())
    epoch.refresh_from_db()
    return epoch


def state_of(order: Order) -> tuple[str, str]:
    order.refresh_from_db()
    return order.status, order.reason


def left(epoch: Epoch) -> dict[str, int]:
    epoch.refresh_from_db()
    return {one.what: one.count for one in unsettled(epoch)}


def ask_twice() -> None:
    """Both looks at the brokers, a proof's gap apart."""
    for _ in range(3):
        cast.pass_time(70)
        sweeps.ask_brokers(runtime.present().wire)


def test_the_first_epoch_is_never_open() -> None:
    first = present_epoch()
    assert (first.number, first.cause, first.released_at is None) == (1, "FOUNDED", False)
    assert present_epoch().lineage == first.lineage
    with pytest.raises(ConflictError):
        release_epoch(by=None)


def test_an_entry_that_waited_is_never_sent_again(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    order = cast.order(leg="entry")
    epoch = restored()
    assert state_of(order) == ("EXPIRED", "RESTORED_UNSENT")
    assert epoch.treated["entries_ended"] == 1
    assert cast.events("order.expired") == [{"code": "RESTORED_UNSENT"}]
    assert cast.log_codes(order.pk)[-1] == ("RESTORED_UNSENT", "EXPIRED")
    assert cast.claim_all() == []
    assert broker.calls == []


def test_what_is_published_in_an_open_epoch_is_skipped(
    alice: ExecutionConnection, feed: Feed
) -> None:
    restored()
    cast.signal(feed)
    assert state_of(cast.order(leg="entry")) == ("SKIPPED", "ENTRIES_HALTED")


def test_rows_of_this_life_are_trusted(alice: ExecutionConnection, feed: Feed) -> None:
    cast.signal(feed)
    order = cast.order(leg="entry")
    epoch = restored(since=order.created_at - timedelta(seconds=1))
    assert state_of(order) == ("PENDING", "")
    assert epoch.treated["entries_ended"] == 0


@pytest.mark.parametrize("status", ["SUBMITTING", "SUBMITTED", "UNKNOWN", "CANCEL_REQUESTED"])
def test_what_was_under_way_is_unknown_and_asked_for(
    status: str, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    """Filled in the life that is forgotten; the broker tells it."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    broker.fill_at_once(outgoing.request)
    run("UPDATE execution_order SET status = %s", (status,))
    order = cast.order(leg="entry")
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    assert order.fence >= 1000
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.filled_quantity) == ("FILLED", 100)
    assert broker.accepted() == [outgoing.request.client_order_id[:-1]]


def test_a_partly_filled_order_is_known_again_though_nothing_new_is_told(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, [broker.execute(broker.receive(outgoing.request), D(40))])
    order = cast.order(leg="entry")
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    restored()
    assert state_of(order) == ("UNKNOWN", "RESTORED")
    sweeps.ask_brokers(wire.wire)
    assert state_of(order)[0] == "PARTIALLY_FILLED"
    order.refresh_from_db()
    assert order.filled_quantity == 40


def test_an_order_waiting_for_its_next_attempt_is_asked_for_under_that_id(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    """The backup has it refused and due again; the forgotten rows sent it with the next digit."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    order = cast.order(leg="entry")
    run("UPDATE execution_order SET status = 'PENDING', attempt = 1, due_at = clock_timestamp()")
    sent = cast.claim_all()[0].request
    broker.fill_at_once(sent)
    run(
        "UPDATE execution_order SET status = 'PENDING', client_order_id = %s",
        (outgoing.request.client_order_id,),
    )
    restored()
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.client_order_id) == ("FILLED", sent.client_order_id)


def test_an_absence_counts_only_when_nobody_can_be_sending_any_more(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    cast.claim_all()
    order = cast.order(leg="entry")
    open_epoch(Epoch.Cause.COMMAND)
    order.refresh_from_db()
    assert order.answer_by == Epoch.objects.get(released_at=None).answer_by
    run("UPDATE execution_order SET answer_by = answer_by + interval '60 seconds'")
    sweeps.ask_brokers(wire.wire)
    order.refresh_from_db()
    assert (order.status, order.proofs) == ("UNKNOWN", 0)
    ask_twice()
    assert state_of(order) == ("FAILED", "NEVER_ARRIVED")


def test_an_old_decision_bounces_off(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    """A process of the life before tells that it did not send; its fence is far behind."""
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    restored()
    cast.answer(outgoing, TimeoutError())
    assert state_of(cast.order(leg="entry")) == ("UNKNOWN", "RESTORED")


class TestExits:
    def test_one_that_waited_goes_when_the_broker_still_holds_it_all(
        self, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
    ) -> None:
        position = cast.filled(cast.signal(feed))
        close_position(position.pk)
        order = cast.order(leg="close-1")
        epoch = restored()
        assert state_of(order) == ("FAILED", "RESTORED_EXIT")
        assert settle() == []  # not compared yet
        assert left(epoch)["EXITS"] == 1
        cast.pass_time(1)
        reconcile()
        assert settle() == [order.pk]
        assert state_of(order) == ("PENDING", "RESTORE_CLEARED")
        cast.fill_all()
        position.refresh_from_db()
        assert position.quantity == broker.tickets[0].held == 0
        assert settle() == []

    def test_one_whose_twin_was_sent_stays(
        self, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
    ) -> None:
        """Half was to be closed, and was: sent again it would close the other half."""
        position = cast.filled(cast.signal(feed))
        close_position(position.pk, fraction=D("0.5"))
        order = cast.order(leg="close-1")
        broker.exit_by_itself(broker.tickets[0], CloseCause.EXTERNAL, D(50))
        epoch = restored()
        cast.pass_time(1)
        reconcile()
        assert settle() == []
        assert state_of(order) == ("FAILED", "RESTORED_EXIT")
        assert broker.tickets[0].held == 50
        assert "EXITS" in left(epoch)
        with pytest.raises(ConflictError):
            retry_order(order.pk)

    def test_two_of_one_position_never_close_more_than_it_holds(
        self, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
    ) -> None:
        position = cast.filled(cast.signal(feed))
        close_position(position.pk, fraction=D("0.5"))
        close_position(position.pk, fraction=D("0.5"))
        restored()
        cast.pass_time(1)
        reconcile()
        assert len(settle()) == 2
        position.refresh_from_db()
        assert position.reserved == position.quantity == 100

    def test_a_new_one_waits_for_the_first_comparison(
        self, alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
    ) -> None:
        position = cast.filled(cast.signal(feed))
        restored()
        close_position(position.pk)
        assert cast.claim_all() == []
        assert state_of(cast.order(leg="close-1")) == ("PENDING", "")
        reconcile()
        cast.pass_time(2)
        assert [one.request.reduce_only for one in cast.claim_all()] == [True]


def test_a_read_that_began_while_others_may_send_is_no_comparison(
    alice: ExecutionConnection, wire: runtime.Runtime
) -> None:
    epoch = open_epoch(Epoch.Cause.COMMAND)
    Epoch.objects.update(answer_by=timezone.now() + timedelta(hours=1))
    reconcile()
    assert not ConnectionHealth.objects.filter(reconciled_at__isnull=False).exists()
    assert {"WAIT", "UNCOMPARED"} <= set(left(epoch))
    Epoch.objects.update(answer_by=timezone.now())
    reconcile()
    assert ConnectionHealth.objects.filter(reconciled_at__isnull=False).count() == 1


def test_what_the_broker_took_and_we_forgot_is_drift_with_what_it_may_be(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    broker.fill_at_once(outgoing.request)
    order = cast.order(leg="entry")  # as the backup has it: nothing sent
    run(
        "UPDATE execution_order SET status = 'PENDING', client_order_id = NULL, quantity = NULL,"
        " submitted_at = NULL, fence = 0"
    )
    epoch = restored()
    settle()
    forgotten = DriftItem.objects.get(kind=Code.FORGOTTEN_ORDER.value)
    assert forgotten.key == outgoing.request.client_order_id
    assert forgotten.evidence["may_be"] == [f"O-{order.pk}"]
    reconcile()
    held = DriftItem.objects.get(kind=Code.UNKNOWN_POSITION.value)
    assert held.evidence["client_order_id"] == outgoing.request.client_order_id
    assert left(epoch) == {"DRIFT": 2}
    with pytest.raises(ConflictError) as refused:
        release_epoch(by=None)
    assert refused.value.code == Code.EPOCH_OPEN
    settle()
    assert DriftItem.objects.filter(kind=Code.FORGOTTEN_ORDER.value).count() == 1

    drift_decisions.relink(held.pk, by=None, order_id=order.pk)
    sweeps.ask_brokers(wire.wire)
    assert state_of(order)[0] == "FILLED"
    position = ExecutionPosition.objects.get(signal=order.signal)
    assert (position.quantity, position.broker_position_id) == (100, broker.tickets[0].number)
    cast.pass_time(1)
    reconcile()
    settle()
    assert left(epoch) == {}
    release_epoch(by=None)
    assert len(broker.accepted()) == 1
    assert audit().ok


def test_books_that_cannot_be_read_are_read_later(
    alice: ExecutionConnection, broker: Double, wire: runtime.Runtime
) -> None:
    epoch = restored()
    broker.reads_fail = True
    with pytest.raises(Exception, match="BROKER_UNREACHABLE"):
        settle()
    assert left(epoch)["BOOKS"] == 1
    broker.reads_fail = False
    settle()
    assert "BOOKS" not in left(epoch)


def test_a_position_of_the_owners_own_does_not_hold_the_release_up(
    alice: ExecutionConnection, feed: Feed, broker: Double, wire: runtime.Runtime
) -> None:
    epoch = restored()
    for key, told in (("1", "other123"), ("2", "dev4567"), ("3", "")):
        DriftItem.objects.create(
            kind="UNKNOWN_POSITION", connection=alice, key=key, evidence={"client_order_id": told}
        )
    assert left(epoch)["DRIFT"] == 2


class TestRelease:
    def test_the_halt_ends_with_the_epoch_and_not_before(
        self, alice: ExecutionConnection, feed: Feed, wire: runtime.Runtime
    ) -> None:
        epoch = restored()
        assert epoch.kill_switch is not None
        with pytest.raises(ConflictError) as refused:
            release_kill_switch(epoch.kill_switch.pk, by=None)
        assert refused.value.code == Code.EPOCH_OPEN
        reconcile()
        settle()
        release_epoch(by=None, by_name="anna")
        epoch.refresh_from_db()
        assert (epoch.released_by, epoch.left_open) == ("anna", [])
        assert not KillSwitch.objects.filter(released_at=None).exists()
        cast.signal(feed)
        assert [one.is_entry for one in cast.claim_all()] == [True]

    def test_by_force_it_needs_a_reason_and_keeps_what_was_open(
        self, alice: ExecutionConnection
    ) -> None:
        epoch = restored()
        with pytest.raises(InvalidInputError):
            release_epoch(by=None, force=True, note=" ")
        release_epoch(by=None, force=True, note="they are closed for the weekend")
        epoch.refresh_from_db()
        assert epoch.release_note == "they are closed for the weekend"
        assert {one["what"] for one in epoch.left_open} == {"BOOKS", "UNCOMPARED"}

    def test_a_second_restore_takes_the_halt_over(self, alice: ExecutionConnection) -> None:
        first, second = restored(), restored()
        first.refresh_from_db()
        assert (first.number, second.number) == (2, 3)
        assert first.release_note == "Superseded by epoch 3."
        assert KillSwitch.objects.filter(released_at=None).count() == 1
        assert Epoch.objects.filter(released_at=None).get() == second
        assert second.kill_switch is not None


def test_numbers_of_the_forgotten_rows_are_not_given_out_again(
    alice: ExecutionConnection, feed: Feed
) -> None:
    before = cast.signal(feed)
    order = cast.order(leg="entry")
    restored()
    after = cast.signal(feed)
    assert after.pk > before.pk + 10_000
    assert cast.order(signal=after).pk > order.pk + 1_000_000


def test_a_cancel_that_was_wished_for_is_still_wished_for(
    alice: ExecutionConnection, feed: Feed, broker: Double
) -> None:
    cast.signal(feed)
    (outgoing,) = cast.claim_all()
    cast.answer(outgoing, broker.rest(outgoing.request))
    order = cast.order(leg="entry")
    cancel_order(order.pk)
    restored()
    order.refresh_from_db()
    assert (order.status, order.wish) == ("UNKNOWN", "CANCEL")


def test_what_was_seen_missing_before_the_backup_is_looked_at_anew(
    alice: ExecutionConnection, feed: Feed
) -> None:
    position = cast.filled(cast.signal(feed))
    ExecutionPosition.objects.update(missing_since=timezone.now())
    restored()
    position.refresh_from_db()
    assert position.missing_since is None


class TestTheCommand:
    def run(self, *options: str) -> dict[str, object]:
        out = StringIO()
        call_command("new_epoch", *options, stdout=out, stderr=StringIO())
        told: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
        return told

    def test_opens_says_and_releases(
        self, alice: ExecutionConnection, wire: runtime.Runtime
    ) -> None:
        told = self.run("--note", "disk of db1 lost")
        assert (told["epoch"], told["open"], told["cause"]) == (2, True, "COMMAND")
        assert Epoch.objects.get(pk=2).note == "disk of db1 lost"
        with pytest.raises(SystemExit) as ended:
            self.run("--status")
        assert ended.value.code == 1
        with pytest.raises(CommandError, match="EPOCH_OPEN"):
            self.run("--release")
        Epoch.objects.update(answer_by=timezone.now())
        reconcile()
        settle()
        assert self.run("--status")["unsettled"] == {}
        assert self.run("--release")["open"] is False
        assert self.run("--status")["open"] is False

    @pytest.mark.parametrize(
        "options", [("--since", "yesterday"), ("--since", "2026-11-20T12:00:00"), ("--force",)]
    )
    def test_refuses_what_makes_no_sense(self, options: tuple[str, ...]) -> None:
        with pytest.raises(CommandError) as refused:
            self.run(*options)
        assert refused.value.returncode == 2
        assert not Epoch.objects.filter(released_at=None).exists()


def test_the_halt_says_why(alice: ExecutionConnection) -> None:
    restored()
    (halt,) = rows("SELECT scope, mode, reason FROM connections_killswitch")
    assert (halt.scope, halt.mode) == ("ALL", "REDUCING")
    assert halt.reason.startswith("Epoch 2: the database was restored")
    (event,) = cast.events("kill_switch.changed")
    assert event["mode"] == "REDUCING"
