"""Each transaction that leads to a sending is checked on its own, before the detector's next run.

Behind a pooler no new connection announces another server. The same for real: tests/faults.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import transaction

from common.db.sql import rows
from common.reason_codes import Code
from connections.models import HaltMode, KillSwitch
from connections.services import set_kill_switch
from execution import services
from execution.base import high_water_mark
from execution.base.high_water_mark import DataLossSuspectedError, HighWaterMark, checked_plans
from execution.disaster_recovery import restore_detector
from execution.disaster_recovery.restore_detector import RestoreDetector
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.submission.claim import claim
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.statements import sent_statements

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]


@pytest.fixture
def detector(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> RestoreDetector:
    """Return this process's detector, which has checked a database with a hundred marks."""
    settings.FILLCAST_VAR = tmp_path
    cache.clear()
    found = RestoreDetector()
    monkeypatch.setattr(restore_detector, "_detector", found)
    rows("SELECT nextval('fillcast_mark') FROM generate_series(1, 100)")
    found.check()
    return found


def set_back() -> None:
    rows("SELECT setval('fillcast_mark', last_value - 1) FROM fillcast_mark")


def state() -> tuple[str, str]:
    order = Order.objects.order_by("id")[0]
    return order.status, order.reason


def test_claim_of_a_database_that_is_behind_sends_nothing(
    feed: Feed, runtime: TradingRuntime, broker: FakeBroker, detector: RestoreDetector
) -> None:
    factories.signal(feed)
    set_back()
    assert services.execute(factories.pending()) == []
    assert detector.is_suspect
    assert state() == ("PENDING", "RESTORE_CHECK")
    detector.check()
    assert state() == ("EXPIRED", "RESTORED_UNSENT")
    assert broker.tickets == []


def test_claim_of_an_intact_database_sends(
    feed: Feed, runtime: TradingRuntime, detector: RestoreDetector
) -> None:
    factories.signal(feed)
    services.execute(factories.pending())
    assert runtime.dispatcher.wait_idle(60)
    assert not detector.is_suspect
    assert state()[0] == "SUBMITTING"


@pytest.mark.parametrize(
    "changed",
    [
        lambda known: replace(known, timeline="00000009"),
        lambda known: replace(known, epoch=known.epoch + 1),
        lambda known: replace(known, mark=known.mark + 1),
        lambda known: replace(known, mark=known.mark + 1, timeline=""),
    ],
)
def test_claim_compares_what_the_detector_compares(
    changed: Callable[[HighWaterMark], HighWaterMark], feed: Feed, detector: RestoreDetector
) -> None:
    factories.signal(feed)
    assert detector.known is not None
    with pytest.raises(DataLossSuspectedError):
        claim(factories.pending(), worker_id="w", known_mark=changed(detector.known))
    assert state() == ("PENDING", "")
    assert len(claim(factories.pending(), worker_id="w", known_mark=detector.known).outgoing) == 1


def test_epoch_that_another_process_has_opened_is_no_loss(detector: RestoreDetector) -> None:
    assert detector.known is not None
    known = replace(detector.known, epoch=0, timeline="00000009")
    with transaction.atomic(), checked_plans(known):
        pass


def test_server_that_hides_what_it_showed_before_is_suspected(
    detector: RestoreDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(high_water_mark, "_WITH_TIMELINE", "not_allowed() AS timeline")
    with pytest.raises(DataLossSuspectedError), transaction.atomic(), checked_plans(detector.known):
        pass


def test_check_costs_no_exchange(feed: Feed, detector: RestoreDetector) -> None:
    counts = []
    for known in (None, detector.known):
        factories.signal(feed)
        with sent_statements() as seen:
            assert len(claim(factories.pending(), worker_id="w", known_mark=known).outgoing) == 1
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_halted_entry_of_a_database_that_is_behind_is_not_denied(
    feed: Feed, runtime: TradingRuntime, detector: RestoreDetector
) -> None:
    factories.signal(feed)
    set_kill_switch(scope=KillSwitch.Scope.ALL, mode=HaltMode.REDUCING, by=None, reason="halt")
    set_back()
    services.execute(factories.pending())
    assert state() == ("PENDING", "RESTORE_CHECK")
    assert detector.is_suspect


def test_failed_entry_of_a_database_that_is_behind_is_not_routed(
    feed: Feed, runtime: TradingRuntime, detector: RestoreDetector
) -> None:
    factories.signal(feed)
    factories.claim_all()
    factories.force(
        "UPDATE execution_order SET status = 'FAILED', reason = %s, route_state = 'HERE',"
        " routed_from_id = connection_id,"
        " done_at = now()",
        (Code.NEVER_ARRIVED.value,),
    )
    set_back()
    assert services.execute_rerouted() == 0
    assert detector.is_suspect
    assert Order.objects.get().route_state == "HERE"
    detector.is_suspect = False
    rows("SELECT nextval('fillcast_mark')")
    services.execute_rerouted()
    assert Order.objects.get().route_state == "LAST"  # there is no other account


def test_check_takes_no_value_of_another_server(detector: RestoreDetector) -> None:
    """A pooler may go on to another server between the two statements of a check."""
    known = detector.known
    assert known is not None
    seen = restore_detector.read_database()
    set_back()
    assert restore_detector.advance_mark(seen) is None
    assert restore_detector.read_database().mark == known.mark - 1
