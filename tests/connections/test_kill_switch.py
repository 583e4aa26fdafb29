"""Setting and releasing halts."""

from typing import Any

import pytest

from common.errors import InvalidInputError, NotAllowedError
from connections import services
from connections.models import ExecutionConnection, KillSwitch
from events.models import Event, EventKind
from tests.connections import make
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
    }


def test_permissions_to_halt_by_scope(alices: ExecutionConnection, operator: User) -> None:
    feed = make.feed()
    owner: dict[str, User | None] = {
        "ALL": None, "FEED": feed.owner, "USER": alices.user, "CONNECTION": alices.user,
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
