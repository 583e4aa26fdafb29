"""A recovery epoch: when it is open, its halt, its release, its command."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError
from common.reason_codes import Code
from connections.models import Epoch, ExecutionConnection, KillSwitch
from connections.services import release_kill_switch
from execution.disaster_recovery.epochs import (
    current_epoch,
    open_epoch,
    process_open_epoch,
    release_epoch,
)
from execution.reconciliation.reconcile import reconcile
from execution.runtime import trading_runtime
from signals.models import Feed
from tests.execution import factories
from tests.execution.disaster_recovery.actions import restored

pytestmark = pytest.mark.django_db


def test_first_epoch_is_never_open() -> None:
    first = current_epoch()
    assert (first.number, first.cause, first.released_at is None) == (1, "FOUNDED", False)
    assert current_epoch().lineage == first.lineage
    with pytest.raises(ConflictError):
        release_epoch(by=None)


class TestRelease:
    def test_halt_ends_with_the_epoch_and_not_before(
        self, alice: ExecutionConnection, feed: Feed, runtime: trading_runtime.TradingRuntime
    ) -> None:
        epoch = restored()
        assert epoch.kill_switch is not None
        with pytest.raises(ConflictError) as refused:
            release_kill_switch(epoch.kill_switch.pk, by=None)
        assert refused.value.code == Code.EPOCH_OPEN
        reconcile()
        process_open_epoch()
        release_epoch(by=None, by_name="anna")
        epoch.refresh_from_db()
        assert (epoch.released_by, epoch.left_open) == ("anna", [])
        assert not KillSwitch.objects.filter(released_at=None).exists()
        factories.signal(feed)
        assert [one.is_entry for one in factories.claim_all()] == [True]

    def test_release_is_of_the_epoch_whose_issues_were_seen(
        self, alice: ExecutionConnection
    ) -> None:
        """While a person reads its page, another restore may have opened a newer one."""
        seen, newer = restored(), open_epoch(Epoch.Cause.BEHIND)
        with pytest.raises(ConflictError) as refused:
            release_epoch(by=None, force=True, note="all looked at", number=seen.number)
        assert refused.value.code == Code.STATE_CONFLICT
        newer.refresh_from_db()
        assert newer.released_at is None
        release_epoch(by=None, force=True, note="all looked at", number=newer.number)

    def test_forced_release_needs_a_reason_and_lists_open_issues(
        self, alice: ExecutionConnection
    ) -> None:
        epoch = restored()
        with pytest.raises(InvalidInputError):
            release_epoch(by=None, force=True, note=" ")
        release_epoch(by=None, force=True, note="they are closed for the weekend")
        epoch.refresh_from_db()
        assert epoch.release_note == "they are closed for the weekend"
        assert {issue["code"] for issue in epoch.left_open} == {"BOOKS", "UNCOMPARED"}

    def test_second_restore_keeps_the_halt(self, alice: ExecutionConnection) -> None:
        first, second = restored(), restored()
        first.refresh_from_db()
        assert (first.number, second.number) == (2, 3)
        assert first.release_note == "Superseded by epoch 3."
        assert KillSwitch.objects.filter(released_at=None).count() == 1
        assert Epoch.objects.filter(released_at=None).get() == second
        assert second.kill_switch is not None


class TestTheCommand:
    def run(self, *options: str) -> dict[str, object]:
        out = StringIO()
        call_command("new_epoch", *options, stdout=out, stderr=StringIO())
        summary: dict[str, object] = json.loads(out.getvalue().splitlines()[-1])
        return summary

    def test_command_opens_shows_and_releases_an_epoch(
        self, alice: ExecutionConnection, runtime: trading_runtime.TradingRuntime
    ) -> None:
        summary = self.run("--note", "disk of db1 lost")
        assert (summary["epoch"], summary["open"], summary["cause"]) == (2, True, "COMMAND")
        assert Epoch.objects.get(pk=2).note == "disk of db1 lost"
        with pytest.raises(SystemExit) as ended:
            self.run("--status")
        assert ended.value.code == 1
        with pytest.raises(CommandError, match="EPOCH_OPEN"):
            self.run("--release")
        Epoch.objects.update(answer_by=timezone.now())
        reconcile()
        process_open_epoch()
        assert self.run("--status")["unsettled"] == {}
        assert self.run("--release")["open"] is False
        assert self.run("--status")["open"] is False

    @pytest.mark.parametrize(
        "options", [("--since", "yesterday"), ("--since", "2026-11-20T12:00:00"), ("--force",)]
    )
    def test_command_refuses_invalid_arguments(self, options: tuple[str, ...]) -> None:
        with pytest.raises(CommandError) as refused:
            self.run(*options)
        assert refused.value.returncode == 2
        assert not Epoch.objects.filter(released_at=None).exists()


def test_halt_states_its_reason(alice: ExecutionConnection) -> None:
    restored()
    (halt,) = rows("SELECT scope, mode, reason FROM connections_killswitch")
    assert (halt.scope, halt.mode) == ("ALL", "REDUCING")
    assert halt.reason.startswith("Epoch 2: the database was restored")
    (event,) = factories.events("kill_switch.changed")
    assert event["mode"] == "REDUCING"
