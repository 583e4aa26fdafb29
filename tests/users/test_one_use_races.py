"""What works once, or so many times, works so in two sessions at the same time, too."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import transaction

from common.db.sql import rows
from events.models import Event, EventKind
from tests.changes.races import Race, require_one_winner
from tests.connections import make
from tests.operational import set_setting
from users.keys.networks import _record_new
from users.mails import account_mails, links
from users.models import AccountMail, DataExport, Invitation, RecoveryCode, SecondFactor, User
from users.people import data_export
from users.people.email_addresses import change_own_email, confirm_email
from users.people.forgotten_passwords import set_forgotten_password
from users.people.invitations import invite, revoke_invitation
from users.people.sign_up import NewLogin, sign_up_by_invitation
from users.services import create_api_key
from users.sign_in import one_time_codes, second_factor
from users.sign_in.attempt_limits import Limit, count_attempt
from users.sign_in.new_passwords import require_unchanged, store_password
from users.tenancy import on_behalf_of
from users.trail_alarm import clear_alarm, raise_alarm

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = b"twenty bytes, fixed!"
PASSWORD = "correct horse battery"
INVALID, WRONG = "LINK_INVALID", "SECOND_FACTOR_WRONG"


@pytest.fixture(autouse=True)
def surroundings(settings: Any, limits: Callable[..., None]) -> None:
    """Sign-up is open, and a session waits for as long as the test."""
    set_setting("users.sign_up", "open")
    limits(lock_timeout=60_000)


def one_time_code() -> Race:
    user = make.user()
    factor = SecondFactor.objects.create(
        user=user, sealed_secret=second_factor.seal_secret(user, SECRET), last_step=0
    )
    step = int(time.time()) // one_time_codes.STEP_SECONDS
    code = one_time_codes.code_at(SECRET, step + 1)  # it stays valid for a while

    def use() -> None:
        second_factor.check(user, code)

    def left() -> int:
        return SecondFactor.objects.get(user=user).last_step - step

    return Race(use, use, ("done", WRONG), left, 1, row=factor)


def recovery_code() -> Race:
    user = make.user()
    SecondFactor.objects.create(user=user, sealed_secret=b"", last_step=0)
    code = second_factor.renew_recovery_codes(user)[0]
    row = RecoveryCode.objects.get(code_hash=one_time_codes.recovery_hash(user.pk, code))

    def use() -> None:
        second_factor.check(user, code)

    def left() -> int:
        return second_factor.recovery_codes_left(user)

    return Race(use, use, ("done", WRONG), left, one_time_codes.RECOVERY_CODES - 1, row=row)


def link_to_a_new_password() -> Race:
    user = make.user()
    *_, uid, token, _ = links.reset_link(user).split("/")

    def use() -> object:
        return set_forgotten_password(uid, token, PASSWORD)

    def left() -> int:
        return AccountMail.objects.filter(kind=AccountMail.Kind.PASSWORD_RESET).count()

    return Race(use, use, ("done", INVALID), left, 1, row=user)


def _login(name: str) -> NewLogin:
    return NewLogin(name, PASSWORD)


def _logins() -> int:
    return User.objects.filter(username__in=("zoe", "zoe2")).count()


def invitation() -> Race:
    row, _ = invite("For Zoe", by=None)
    return Race(
        lambda: sign_up_by_invitation(_login("zoe"), row),
        lambda: sign_up_by_invitation(_login("zoe2"), row),
        ("done", INVALID), _logins, 1, row=row,
    )  # fmt: skip


def invitation_that_is_being_revoked() -> Race:
    row, _ = invite("For Zoe", by=None)
    return Race(
        lambda: revoke_invitation(row.pk, by=None),
        lambda: sign_up_by_invitation(_login("zoe"), row),
        ("True", INVALID), _logins, 0,
    )  # fmt: skip


def invitation_that_is_being_used() -> Race:
    row, _ = invite("For Zoe", by=None)

    def left() -> object:
        return Invitation.objects.get(pk=row.pk).revoked_at

    return Race(
        lambda: sign_up_by_invitation(_login("zoe"), row),
        lambda: revoke_invitation(row.pk, by=None),
        ("done", INVALID), left, None,
    )  # fmt: skip


def _confirmed(user: User) -> tuple[str, bool]:
    now = User.objects.get(pk=user.pk)
    return now.email, now.email_confirmed_at is not None


def confirmation_of_an_address() -> Race:
    user = make.user(email="zoe@example.com")

    def use() -> bool:
        return confirm_email(user.pk, "zoe@example.com")

    return Race(use, use, ("True", "False"), lambda: _confirmed(user), ("zoe@example.com", True))


def confirmation_of_an_address_that_is_being_replaced() -> Race:
    """The link proves the old address, and so nothing of the new one."""
    user = make.user(email="zoe@example.com")
    return Race(
        lambda: change_own_email(user, "new@example.com"),
        lambda: confirm_email(user.pk, "zoe@example.com"),
        ("True", "False"), lambda: _confirmed(user), ("new@example.com", False),
    )  # fmt: skip


def one_address_of_two_logins() -> Race:
    one, other = make.user(email="zoe@example.com"), make.user(email="Zoe@example.com")

    def left() -> int:
        return User.objects.filter(email_confirmed_at__isnull=False).count()

    return Race(
        lambda: confirm_email(one.pk, "zoe@example.com"),
        lambda: confirm_email(other.pk, "Zoe@example.com"),
        ("True", INVALID), left, 1,
    )  # fmt: skip


def present_password() -> Race:
    """Two forms were checked with it; who knows only the old one replaces no newer one."""
    user = make.user()
    made = [User.objects.get(pk=user.pk) for _ in range(2)]

    def replace(seen: User, password: str) -> None:
        with transaction.atomic():
            require_unchanged(seen)
            seen.set_password(password)
            store_password(seen)

    def left() -> bool:
        return User.objects.get(pk=user.pk).check_password("first")

    refused = (
        "ValidationError: ['Your password was changed elsewhere a moment ago. Sign in again with"
        " the new one.']"
    )
    return Race(
        lambda: replace(made[0], "first"), lambda: replace(made[1], "second"), ("done", refused),
        left, True,
    )  # fmt: skip


def request_for_an_archive() -> Race:
    user = make.user()

    def ask() -> object:
        return data_export.request_export(user)

    return Race(ask, ask, ("done", "EXPORT_LIMIT"), DataExport.objects.count, 1)


def claim_of_an_archive() -> Race:
    data_export.request_export(make.user())

    def claim() -> bool:
        return data_export._claim() is not None

    def left() -> int:
        return DataExport.objects.get().tries

    return Race(claim, claim, ("True", "False"), left, 1)


def claim_of_a_mail() -> Race:
    account_mails.ask_for_mail(AccountMail.Kind.DELETED, "zoe@example.com", name="zoe")

    def claim() -> int:
        return len(rows(account_mails.CLAIM, {"seconds": 300.0, "most": 20}))

    return Race(claim, account_mails.send_due, ("1", "0"), lambda: len(mail.outbox), 0)


def last_attempt() -> Race:
    limit = Limit("second factor", "1", 1, timedelta(hours=1))

    def attempt() -> None:
        count_attempt([limit])

    def second() -> str:
        try:
            attempt()
        except Exception as error:
            return type(error).__name__
        return "counted"

    return Race(attempt, second, ("done", "TooManyAttemptsError"))


def first_two_networks_of_a_key() -> Race:
    """The first one is no alarm, so of two at once exactly one is."""
    user = make.user()
    key, _ = create_api_key(user, "robot")

    def use(network: str) -> None:
        with on_behalf_of(user):
            _record_new(key.pk, network)

    def left() -> int:
        return Event.objects.filter(kind=EventKind.API_KEY_NEW_NETWORK).count()

    return Race(
        lambda: use("192.0.2.0/24"), lambda: use("198.51.100.0/24"), ("done", "done"), left, 1
    )


def alarm_of_the_audit_trail() -> Race:
    raise_alarm(["first"])
    clear_alarm()

    def check() -> bool:
        return raise_alarm(["Line 7 was changed."])

    def left() -> int:
        return Event.objects.filter(kind=EventKind.AUDIT_TRAIL_BROKEN).count()

    return Race(check, check, ("True", "False"), left, 2)


RACES: dict[str, Callable[[], Race]] = {
    made.__name__: made
    for made in (
        one_time_code,
        recovery_code,
        link_to_a_new_password,
        invitation,
        invitation_that_is_being_revoked,
        invitation_that_is_being_used,
        confirmation_of_an_address,
        confirmation_of_an_address_that_is_being_replaced,
        one_address_of_two_logins,
        present_password,
        request_for_an_archive,
        claim_of_an_archive,
        claim_of_a_mail,
        last_attempt,
        first_two_networks_of_a_key,
        alarm_of_the_audit_trail,
    )
}


@pytest.mark.parametrize("name", RACES)
def test_what_is_used_up_has_one_winner(name: str) -> None:
    require_one_winner(RACES[name]())
