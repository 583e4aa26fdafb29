"""Setting and releasing halts."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from common.db.sql import periodic_rows
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Role
from common.reason_codes import Code
from connections import kill_switch, services
from connections.models import ExecutionConnection, KillSwitch
from events.models import Event, EventKind
from execution.base.kill_switch import CURRENT_HALTS, read_halts
from signals.models import Feed
from tests.connections import make
from tests.roles import give
from users.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture
def alices() -> ExecutionConnection:
    return make.connection()


@pytest.fixture
def operator() -> User:
    return make.user(is_staff=True)


def test_halt_lasts_until_release_and_both_emit_events(
    alices: ExecutionConnection, operator: User
) -> None:
    switch = services.set_kill_switch(
        scope="CONNECTION", mode="HALTED", reason="odd fills", by=operator,
        connection_id=alices.pk,
    )  # fmt: skip
    assert not alices.can_execute_trades()
    assert services.release_kill_switch(switch.pk, by=operator) is True
    assert services.release_kill_switch(switch.pk, by=operator) is False
    assert alices.can_execute_trades()
    events = Event.objects.filter(kind=EventKind.KILL_SWITCH).order_by("id")
    assert [(e.user_id, e.payload["change"], e.payload["mode"]) for e in events] == [
        (alices.user_id, "set", "HALTED"),
        (alices.user_id, "released", "HALTED"),
    ]


def targets(alices: ExecutionConnection, feed_id: int) -> dict[str, dict[str, Any]]:
    return {
        "ALL": {},
        "FEED": {"feed_id": feed_id},
        "USER": {"user_id": alices.user_id},
        "CONNECTION": {"connection_id": alices.pk},
        "BROKER_TYPE": {"broker_type": "paper"},
        "SYMBOL": {"pair": "EUR/USD"},
    }


def test_permissions_to_halt_by_scope(alices: ExecutionConnection, operator: User) -> None:
    feed = make.feed()
    owner: dict[str, User | None] = {
        "ALL": None, "FEED": feed.owner, "USER": alices.user, "CONNECTION": alices.user,
        "BROKER_TYPE": None, "SYMBOL": None,
    }  # fmt: skip
    for scope, target in targets(alices, feed.pk).items():
        asked: dict[str, Any] = {"scope": scope, "mode": "REDUCING", "reason": "r", **target}
        with pytest.raises(NotAllowedError):
            services.set_kill_switch(by=make.user(), **asked)
        assert services.set_kill_switch(by=operator, **asked).pk
        if own := owner[scope]:
            assert services.set_kill_switch(by=own, **asked).set_by == own


def test_halt_names_only_its_scope(alices: ExecutionConnection, operator: User) -> None:
    feed = make.feed()
    for scope in KillSwitch.Scope.values:
        for other, target in targets(alices, feed.pk).items():
            if other == scope:
                continue
            with pytest.raises(InvalidInputError):
                services.set_kill_switch(
                    scope=scope, mode="HALTED", reason="r", by=operator, **target
                )
    for scope, mode in (("X", "HALTED"), ("ALL", "X")):
        with pytest.raises(InvalidInputError):
            services.set_kill_switch(scope=scope, mode=mode, reason="r", by=operator)
    assert not KillSwitch.objects.exists()


def test_owner_cannot_release_operators_kill_switch(
    alices: ExecutionConnection, operator: User
) -> None:
    by_operator = services.set_kill_switch(
        scope="USER", mode="HALTED", reason="r", by=operator, user_id=alices.user_id
    )
    own = services.set_kill_switch(
        scope="USER", mode="HALTED", reason="r", by=alices.user, user_id=alices.user_id
    )
    with pytest.raises(NotAllowedError):
        services.release_kill_switch(by_operator.pk, by=alices.user)
    assert services.release_kill_switch(own.pk, by=alices.user) is True
    assert not alices.can_execute_trades(), "the other one still holds"


def test_symbol_is_read_as_in_a_signal(operator: User) -> None:
    switch = services.set_kill_switch(
        scope="SYMBOL", mode="REDUCING", reason="r", by=operator, pair="eurusd"
    )
    assert (switch.pair, str(switch)) == ("EUR/USD", "REDUCING symbol")


@pytest.mark.parametrize(
    ("named", "field", "code"),
    [
        ({"scope": "SYMBOL", "pair": "?!"}, "pair", Code.SYMBOL_UNKNOWN),
        ({"scope": "SYMBOL", "pair": "KOSPI200"}, "pair", Code.SYMBOL_UNKNOWN),
        ({"scope": "SYMBOL"}, "pair", Code.FIELD_INVALID),
        ({"scope": "BROKER_TYPE", "broker_type": "mt9"}, "broker_type", Code.FIELD_INVALID),
        ({"scope": "ALL", "pair": "EUR/USD"}, "pair", Code.FIELD_INVALID),
        ({"scope": "ALL", "mode": "HALTED", "flatten": True}, "flatten", Code.FIELD_INVALID),
    ],
)
def test_impossible_halts_are_refused(
    named: dict[str, Any], field: str, code: Code, operator: User
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        services.set_kill_switch(**{"mode": "REDUCING", "reason": "r", "by": operator, **named})
    assert (refused.value.code, refused.value.field) == (code, field)
    assert not KillSwitch.objects.exists()


def test_cancelling_and_closing_needs_the_right_to_trade_on_the_accounts(
    alices: ExecutionConnection, operator: User
) -> None:
    """A provider halts a feed, but the accounts of its followers are not the provider's."""
    feed = make.feed()
    own: dict[str, Any] = {"scope": "CONNECTION", "connection_id": alices.pk, "by": alices.user}
    flatten: dict[str, Any] = {"mode": "REDUCING", "reason": "r", "flatten": True}
    of_feed: dict[str, Any] = {"scope": "FEED", "feed_id": feed.pk}
    assert services.set_kill_switch(**own, **flatten).flatten
    assert services.set_kill_switch(**of_feed, **flatten, by=operator).flatten
    assert not services.set_kill_switch(
        **of_feed, mode="REDUCING", reason="r", by=feed.owner
    ).flatten
    with pytest.raises(NotAllowedError) as refused:
        services.set_kill_switch(**of_feed, **flatten, by=feed.owner)
    assert refused.value.code == Code.FOLLOWERS_ACCOUNTS
    assert "CLOSE signal" in refused.value.code.hint
    with pytest.raises(NotAllowedError):
        services.set_kill_switch(**{**own, "by": feed.owner}, **flatten)


def test_provider_does_not_hold_the_exits_of_followers(operator: User) -> None:
    """HALTED holds exits on accounts of others; a shell and operators may set it."""
    feed = make.feed()
    of_feed: dict[str, Any] = {"scope": "FEED", "mode": "HALTED", "feed_id": feed.pk}
    for call in (services.halt_target, services.set_kill_switch):
        with pytest.raises(NotAllowedError, match="REDUCING") as refused:
            call(**of_feed, by=feed.owner, reason="r")
        assert refused.value.code == Code.FOLLOWERS_ACCOUNTS
    assert not KillSwitch.objects.exists()
    for by in (operator, None):
        assert services.set_kill_switch(**of_feed, by=by, reason="r").mode == "HALTED"
    own: dict[str, Any] = {"scope": "USER", "user_id": feed.owner_id, "by": feed.owner}
    assert services.set_kill_switch(**own, mode="HALTED", reason="r").mode == "HALTED"


def test_refused_release_names_who_set_the_halt(
    alices: ExecutionConnection, operator: User
) -> None:
    feed = make.feed()
    make.subscription(alices, feed)
    halt: dict[str, Any] = {
        "scope": "FEED", "mode": "REDUCING", "feed_id": feed.pk, "reason": "r",
    }  # fmt: skip
    for by, named in ((feed.owner, "provider set this halt"), (operator, "An operator set this")):
        switch = services.set_kill_switch(**halt, by=by)
        with pytest.raises(NotAllowedError, match=named):
            services.release_kill_switch(switch.pk, by=alices.user)
    of_provider = services.set_kill_switch(**halt, by=feed.owner)
    Feed.objects.filter(pk=feed.pk).update(owner=make.user("successor"))
    for other in (alices.user, User.objects.get(username="successor")):
        with pytest.raises(NotAllowedError, match="An earlier provider of the feed set this halt"):
            services.release_kill_switch(of_provider.pk, by=other)


def halt_of(account: ExecutionConnection, by: User | None, **changes: Any) -> KillSwitch:
    asked: dict[str, Any] = {
        "scope": "CONNECTION", "mode": "REDUCING", "reason": "r", "connection_id": account.pk,
    }  # fmt: skip
    return services.set_kill_switch(by=by, **asked | changes)


def test_same_halt_is_set_once(alices: ExecutionConnection) -> None:
    first = halt_of(alices, alices.user)
    again = halt_of(alices, alices.user, reason="another")
    assert (again.pk, again.reason) == (first.pk, "r")
    assert Event.objects.filter(kind=EventKind.KILL_SWITCH).count() == 1
    other = make.connection(alices.user)
    different = [
        halt_of(alices, alices.user, mode="HALTED"),
        halt_of(alices, alices.user, flatten=True),
        halt_of(other, alices.user),
        halt_of(alices, alices.user, scope="USER", connection_id=None, user_id=alices.user_id),
    ]
    assert len({first.pk, *(one.pk for one in different)}) == 5
    assert services.release_kill_switch(first.pk, by=alices.user)
    assert halt_of(alices, alices.user).pk > different[-1].pk


@pytest.mark.django_db(transaction=True)
def test_same_halt_is_set_once_by_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    account = make.connection()
    together, target_of = Barrier(4, timeout=60), kill_switch.halt_target

    def all_at_once(**halt: Any) -> kill_switch.HaltTarget:
        target = target_of(**halt)
        together.wait()
        return target

    def click(_: int) -> int:
        try:
            return halt_of(account, account.user).pk
        finally:
            connection.close()

    monkeypatch.setattr(kill_switch, "halt_target", all_at_once)
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(click, range(4)))) == 1
    assert KillSwitch.objects.count() == 1


def test_database_has_the_same_halt_once(alices: ExecutionConnection) -> None:
    same: dict[str, Any] = {
        "scope": "CONNECTION", "connection": alices, "set_by": alices.user,
    }  # fmt: skip
    make.kill_switch("REDUCING", **same)
    make.kill_switch("REDUCING", **same, released_at=timezone.now())
    make.kill_switch("REDUCING", **same, flatten=True, carried_out_at=timezone.now())
    make.kill_switch("REDUCING", **same, flatten=True)
    with pytest.raises(IntegrityError, match="same_halt_once_a_person"):
        make.kill_switch("REDUCING", **same)


def test_release_by_one_person_leaves_the_halts_of_others(
    alices: ExecutionConnection, operator: User
) -> None:
    """Also those of the shell, which knows no persons: each is released by its number."""
    setters = (alices.user, operator, None, None)
    switches = [halt_of(alices, by) for by in setters]
    assert len({switch.pk for switch in switches}) == 4
    for switch, by in zip(switches, setters, strict=True):
        assert not alices.can_execute_trades()
        assert services.release_kill_switch(switch.pk, by=by)
    assert alices.can_execute_trades()


def test_tenant_has_a_limited_number_of_halts(
    alices: ExecutionConnection, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_switch, "MAX_HALTS", 2)
    first = halt_of(alices, alices.user)
    halt_of(alices, alices.user, mode="HALTED")
    halt_of(alices, make.user(is_staff=True))
    with pytest.raises(ConflictError, match="You have set 2 halts") as refused:
        halt_of(alices, alices.user, flatten=True)
    assert refused.value.code == Code.HALT_LIMIT
    assert halt_of(alices, alices.user).pk == first.pk
    oneself: dict[str, Any] = {
        "scope": "USER", "connection_id": None, "user_id": alices.user_id, "flatten": True,
    }  # fmt: skip
    own = halt_of(alices, alices.user, **oneself)
    KillSwitch.objects.filter(pk=own.pk).update(carried_out_at=timezone.now())
    again = halt_of(alices, alices.user, **oneself)
    own.refresh_from_db()
    assert (again.pk > own.pk, own.released_at is None) == (True, False)
    for by in (operator, None):
        halt_of(alices, by, flatten=True)
    services.release_kill_switch(first.pk, by=alices.user)
    services.release_kill_switch(again.pk, by=alices.user)
    assert halt_of(alices, alices.user, flatten=True).pk > again.pk


def test_trading_processes_read_the_same_halt_once(
    alices: ExecutionConnection, operator: User
) -> None:
    for by in (alices.user, operator, None, None):
        halt_of(alices, by)
    halt_of(alices, operator, mode="HALTED")
    assert len(periodic_rows(CURRENT_HALTS)) == 2
    assert read_halts().connections == {str(alices.pk): "HALTED"}


def test_risk_officer_halts_and_may_not_close_positions() -> None:
    officer = make.user()
    officer.is_staff = True
    officer.save()
    give(officer, Role.RISK_OFFICER)
    asked: dict[str, Any] = {"scope": "ALL", "mode": "REDUCING", "reason": "r", "by": officer}
    assert services.set_kill_switch(**asked).mode == "REDUCING"
    with pytest.raises(NotAllowedError, match="cancel orders, move levels, close positions"):
        services.set_kill_switch(**asked, flatten=True)
