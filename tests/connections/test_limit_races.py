"""Two persons, or two processes, act on one halt, limit or subscription at the same time."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import transaction

from common.clocks import market_now
from common.sealing import new_private_key, public_key_of
from connections import services
from connections.loss_limits.figures import limits_of
from connections.loss_limits.pauses import (
    end_due_pauses,
    lock_account,
    resume_after_limit,
    start_pauses,
)
from connections.loss_limits.rules import Breach, code_of
from connections.models import (
    ExecutionConnection,
    KillSwitch,
    LossLimit,
    Subscription,
    SubscriptionInterval,
    TradingPause,
    TradingPreset,
)
from connections.presets.services import change_preset, preset_version
from events.models import Event, EventKind
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.loss_limits import limit_of, pause_of

pytestmark = pytest.mark.django_db(transaction=True)
CONFLICT = "STATE_CONFLICT"
KEY = new_private_key()


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Secrets can be sealed, and a session waits for as long as the test."""
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (KEY,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(KEY)
    limits(lock_timeout=60_000)


def _events(kind: EventKind) -> int:
    return Event.objects.filter(kind=kind).count()


def _halt() -> KillSwitch:
    return services.set_kill_switch(scope="ALL", mode="REDUCING", reason="", by=None)


def two_releases_of_a_halt() -> Race:
    switch = _halt()

    def release() -> bool:
        return services.release_kill_switch(switch.pk, by=None)

    return Race(release, release, ("True", "False"), lambda: _events(EventKind.KILL_SWITCH), 2)


def halt_that_is_being_released() -> Race:
    """The same halt set again must halt, whatever becomes of the one that is released."""
    owner = make.user(is_staff=True)
    halt: dict[str, Any] = {"scope": "ALL", "mode": "REDUCING", "reason": "", "by": owner}
    switch = services.set_kill_switch(**halt)

    def left() -> int:
        return KillSwitch.objects.filter(released_at=None).count()

    return Race(
        lambda: services.release_kill_switch(switch.pk, by=owner),
        lambda: services.set_kill_switch(**halt), ("True", "done"), left, 1,
    )  # fmt: skip


def two_resumptions_after_a_limit() -> Race:
    pause = pause_of(make.connection())

    def resume() -> bool:
        return resume_after_limit(pause.pk, by=None)

    return Race(resume, resume, ("True", "False"), lambda: _events(EventKind.TRADING_RESUMED), 1)


def two_ends_of_a_pause() -> Race:
    pause_of(make.connection(), until=market_now() - timedelta(seconds=1))
    return Race(
        end_due_pauses, end_due_pauses, ("1", "0"), lambda: _events(EventKind.TRADING_RESUMED), 1
    )


def _limited() -> tuple[ExecutionConnection, LossLimit]:
    row = make.ready(make.connection())
    return row, limit_of(row.preset)


def one_limit_that_two_processes_find_reached() -> Race:
    row, _ = _limited()
    (limit,) = limits_of([row.pk])
    breach = Breach(code_of(limit), D(6), D(5))

    def pause() -> int:
        lock_account(row.pk)
        return len(start_pauses([(limit, breach)], now=market_now()))

    def second() -> int:
        with transaction.atomic():
            return pause()

    return Race(pause, second, ("1", "0"), TradingPause.objects.count, 1)


def two_subscriptions_of_an_account() -> Race:
    row, feed = make.connection(), make.feed()

    def subscribe() -> object:
        return services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)

    return Race(subscribe, subscribe, ("done", CONFLICT), SubscriptionInterval.objects.count, 1)


def two_ends_of_a_subscription() -> Race:
    made = make.subscription(make.connection(), make.feed())

    def leave() -> bool:
        return services.unsubscribe(made.pk, by=None)

    def left() -> tuple[bool, int]:
        ended = Subscription.objects.get().archived_at
        return ended is not None, SubscriptionInterval.objects.filter(ended_at=ended).count()

    return Race(leave, leave, ("True", "False"), left, (True, 1))


def two_changes_of_what_both_saw() -> Race:
    preset = make.preset(make.user())
    seen = preset_version(preset)

    def change(name: str) -> object:
        return change_preset(preset.pk, by=None, seen=seen, name=name)

    def left() -> str:
        return TradingPreset.objects.get(pk=preset.pk).name

    return Race(
        lambda: change("first"), lambda: change("second"), ("done", CONFLICT), left, "first"
    )


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        two_releases_of_a_halt,
        halt_that_is_being_released,
        two_resumptions_after_a_limit,
        two_ends_of_a_pause,
        one_limit_that_two_processes_find_reached,
        two_subscriptions_of_an_account,
        two_ends_of_a_subscription,
        two_changes_of_what_both_saw,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_decision_about_a_limit_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
