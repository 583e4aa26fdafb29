"""Rights that depend on a second fact: a key's scopes, a role, a deactivation, another owner."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction

from alerts.models import TelegramBot
from alerts.telegram.leases import take_bots
from common.errors import ConflictError, FillcastError, NotAllowedError
from common.permissions import Right, Role, may
from connections import services
from connections.models import KillSwitch
from signals.feeds.services import update_feed
from signals.models import Feed, Signal
from signals.records.selectors import sees_new
from tests.connections import make
from tests.operational import set_setting
from tests.roles import staff
from tests.users.rights_table import ACTS, CALLERS, CODES, EXPECTED, Rows
from users.models import User
from users.services import change_rights
from users.tenancy import act_as, acting_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def sign_up(settings: Any) -> None:
    set_setting("users.sign_up", "open")


def outcome(act: Any) -> str:
    """Return how an act ends, and undo it."""
    savepoint = transaction.savepoint()
    try:
        act()
        return "allowed"
    except FillcastError as error:
        return str(error.code)
    finally:
        transaction.savepoint_rollback(savepoint)


def test_each_act_is_allowed_to_exactly_those_with_its_right() -> None:
    rows = Rows()
    wrong = [
        f"{name} by {caller}: expected {CODES[letter]}, found {found}"
        for name, letters in EXPECTED.items()
        for (caller, of), letter in zip(CALLERS.items(), letters, strict=True)
        if (found := outcome(lambda: ACTS[name](rows, of(rows)))) != CODES[letter]  # noqa: B023
    ]
    if wrong or ACTS.keys() != EXPECTED.keys():
        raise AssertionError("\n".join([f"{len(wrong)} wrong:", *wrong[:20]]))


OF_PROVIDERS = (
    "publish a signal", "cancel a signal", "store a draft", "publish a draft", "discard a draft",
    "change a feed", "change terms",
)  # fmt: skip


def test_feed_that_was_handed_over_is_its_new_owners_alone() -> None:
    rows, successor = Rows(), make.user("carol")
    Signal.objects.filter(pk=rows.signal.pk).update(approval="APPROVED")
    halt = services.set_kill_switch(
        scope="FEED", feed_id=rows.private.pk, mode="REDUCING", reason="", by=rows.alice
    )
    update_feed(rows.private.pk, by=None, owner=successor)
    assert not Feed.objects.get(pk=rows.private.pk).is_approved
    assert Signal.objects.get(pk=rows.signal.pk).approval == "PENDING"
    update_feed(rows.private.pk, by=None, is_approved=True)
    Signal.objects.filter(pk=rows.signal.pk).update(approval="APPROVED", approved_by=staff())
    for name in OF_PROVIDERS:
        found = [outcome(lambda by=by: ACTS[name](rows, by)) for by in (rows.alice, successor)]  # noqa: B023
        assert found == ["PERMISSION_DENIED", "allowed"], name
    assert sees_new(rows.private, successor)
    # What the earlier provider has halted, they release, or an operator; the new one does not.
    for by, expected in (
        (successor, "PERMISSION_DENIED"), (rows.alice, "allowed"),
        (staff(Role.OPERATOR), "allowed"), (staff(Role.SUPPORT), "RIGHT_MISSING"),
    ):  # fmt: skip
        assert outcome(lambda by=by: services.release_kill_switch(halt.pk, by=by)) == expected


@pytest.mark.parametrize(
    ("changes", "is_approved", "approval"),
    [
        ({"is_public": True}, False, "PENDING"),
        ({"is_public": False}, True, "APPROVED"),
        ({"description": "new"}, True, "APPROVED"),
        ({"owner": "carol"}, False, "PENDING"),
        ({"owner": "alice"}, True, "APPROVED"),
        ({"is_public": True, "is_approved": True}, True, "PENDING"),  # signals were for alice only
    ],
)
def test_approval_lasts_until_the_feed_goes_public_or_to_another(
    changes: dict[str, Any], is_approved: bool, approval: str
) -> None:
    rows = Rows()
    people = {"alice": rows.alice, "carol": make.user("carol")}
    if name := changes.get("owner"):
        changes = {"owner": people[name]}
    update_feed(rows.private.pk, by=None, **changes)
    assert Feed.objects.get(pk=rows.private.pk).is_approved is is_approved
    assert Signal.objects.get(pk=rows.signal.pk).approval == approval


def test_deactivated_owner_reaches_nothing_and_feeds_nothing() -> None:
    rows = Rows()
    TelegramBot.objects.create(feed=rows.private, bot_id=1, token_sealed=b"")
    assert len(take_bots("one", 60.0)) == 1
    act_as(rows.alice)
    assert acting_for() == rows.alice.pk
    change_rights(rows.alice.pk, by=None, is_active=False)
    alice = User.objects.get(pk=rows.alice.pk)
    act_as(alice)
    assert acting_for() is None
    assert not any(may(alice, right, owner_id=alice.pk) for right in Right)
    assert take_bots("one", 60.0) == []


@pytest.mark.parametrize(
    ("who", "code"),
    [("owner", "ACCOUNT_NOT_SYNCED"), ("operator", "TWIN_NOT_POSSIBLE"),
     ("support", "RIGHT_MISSING"), ("tenant", "PERMISSION_DENIED")],
)  # fmt: skip
def test_twin_is_only_for_the_accounts_owner(who: str, code: str) -> None:
    """The owner's act is refused for what is missing, so the others' rights were checked."""
    owner = make.user()
    live = make.subscription(make.connection(owner, type="mt5"), make.feed())
    by = {"owner": owner, "operator": staff(Role.OPERATOR), "support": staff(Role.SUPPORT),
          "tenant": make.user()}[who]  # fmt: skip
    assert outcome(lambda: services.start_twin(live.pk, by=by)) == code


def with_right(right: Right) -> User:
    """A member of staff with one right and no role."""
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename=right.value))
    return User.objects.get(pk=user.pk)


@pytest.mark.parametrize(
    ("of", "code"),
    [
        ("tenant", "allowed"),
        ("staff without a role", "allowed"),
        ("operator", "RIGHTS_ABOVE_OWN"),
        ("superuser", "RIGHTS_ABOVE_OWN"),
        ("themselves", "OWN_RIGHTS"),
    ],
)
def test_rights_are_changed_only_of_those_who_have_no_more(of: str, code: str) -> None:
    by = with_right(Right.USERS)
    user = {
        "tenant": make.user(), "staff without a role": staff(), "themselves": by,
        "operator": staff(Role.OPERATOR), "superuser": staff(is_superuser=True),
    }[of]  # fmt: skip
    assert outcome(lambda: change_rights(user.pk, by=by, is_active=False)) == code
    given = outcome(lambda: change_rights(user.pk, by=by, roles=[Role.SUPPORT]))
    assert given == (code if code != "allowed" else "RIGHTS_ABOVE_OWN")


def test_halts_of_one_owner_are_limited_but_not_of_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connections.kill_switch.MAX_HALTS", 1)
    rows = Rows()  # one halt is set
    other = make.connection(rows.alice)

    def halt(**target: Any) -> str:
        return outcome(
            lambda: services.set_kill_switch(mode="REDUCING", reason="", by=rows.alice, **target)
        )

    assert halt(scope="CONNECTION", connection_id=other.pk) == "HALT_LIMIT"
    assert halt(scope="USER", user_id=rows.alice.pk) == "allowed"
    KillSwitch.objects.filter(set_by=rows.alice).delete()
    assert halt(scope="CONNECTION", connection_id=other.pk) == "allowed"
    with pytest.raises((ConflictError, NotAllowedError)):
        services.set_kill_switch(
            scope="FEED", feed_id=rows.private.pk, mode="HALTED", reason="", by=rows.alice
        )
