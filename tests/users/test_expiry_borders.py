"""What has an end works until before it: keys, links, invitations, factors, secrets, addresses."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import RequestFactory
from django.utils import timezone

from common.errors import FillcastError, InvalidInputError, NotAllowedError
from common.permissions import Scope
from common.sealing import new_private_key, public_key_of
from events import confirmation, webhook_services, webhooks
from events.models import Channel, Event
from signals.feeds.services import create_feed_token, rotate_feed_token, token_end
from signals.models import FeedToken
from tests.connections import make
from tests.operational import set_setting
from users.keys import rules as api_keys
from users.models import ApiKey, DataExport, DataExportPart, SecondFactor, TryCount, User
from users.people import data_export
from users.people.invitations import invite, use_invitation, why_unusable
from users.services import create_api_key, user_for_key
from users.sign_in import one_time_codes, second_factor
from users.sign_in.attempt_limits import Limit, TooManyAttemptsError, count_attempt, undo_attempt
from users.sign_in.session_factor import FRESH_SECONDS, SESSION_KEY, has_second_factor, is_fresh

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 11, 12, tzinfo=UTC)
INSTANT, NOTHING, HOUR = timedelta(microseconds=1), timedelta(0), timedelta(hours=1)
BEFORE_AND_AT_THE_END = [(INSTANT, True), (NOTHING, False), (-INSTANT, False)]
"""How long before its end it is, and whether it works."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """It is noon."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    set_setting("users.sign_up", "open")


def code_of(act: Callable[[], object]) -> str | None:
    """Return the code with which an act is refused; None: it is not."""
    try:
        act()
    except FillcastError as error:
        return str(error.code)
    return None


def _key_opens(end: datetime) -> bool:
    key, secret = create_api_key(make.user(), "k")
    ApiKey.objects.filter(pk=key.pk).update(expires_at=end)
    key.refresh_from_db()
    works = user_for_key(secret) is not None
    assert works == key.is_open == (not api_keys.has_ended(key, now=NOW))
    return works


def _invitation_opens(end: datetime) -> bool:
    row, _ = invite("For Zoe", by=None)
    type(row).objects.filter(pk=row.pk).update(expires_at=end)
    row.refresh_from_db()
    code = code_of(lambda: use_invitation(row, make.user()))
    assert (code is None) == (why_unusable(row) == "")
    return code is None


def _archive_is_there(end: datetime) -> bool:
    user = make.user()
    export = DataExport.objects.create(user=user, state=DataExport.State.READY, expires_at=end)
    DataExportPart.objects.create(export=export, number=0, content=b"zip")
    other = b"".join(data_export.archive_parts(make.user(), export.pk))
    assert other == b"", "another's archive"
    return b"".join(data_export.archive_parts(user, export.pk)) == b"zip"


@pytest.mark.parametrize("opens", [_key_opens, _invitation_opens, _archive_is_there])
@pytest.mark.parametrize(("left", "works"), BEFORE_AND_AT_THE_END)
def test_what_ends_works_until_before_its_end(
    opens: Callable[[datetime], bool], left: timedelta, works: bool
) -> None:
    assert opens(NOW + left) is works


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (NOW - INSTANT, "FIELD_INVALID"),
        (NOW, "FIELD_INVALID"),
        (NOW + INSTANT, None),
        (NOW + api_keys.LONGEST_LIFE, None),
        (NOW + api_keys.LONGEST_LIFE + INSTANT, "FIELD_INVALID"),
    ],
)
def test_key_ends_within_its_longest_life(end: datetime, code: str | None) -> None:
    assert code_of(lambda: api_keys.expiry_of(end, now=NOW)) == code


@pytest.mark.parametrize(
    ("left", "ends_soon"),
    [(NOTHING, False), (INSTANT, True), (api_keys.ENDS_SOON, True),
     (api_keys.ENDS_SOON + INSTANT, False)],
)  # fmt: skip
def test_end_of_a_key_is_announced_in_its_last_two_weeks(left: timedelta, ends_soon: bool) -> None:
    key = ApiKey(expires_at=NOW + left)
    assert api_keys.ends_soon(key, now=NOW) is ends_soon
    key.revoked_at = NOW
    assert not api_keys.ends_soon(key, now=NOW)


@pytest.mark.parametrize(("later", "is_allowed"), [(NOTHING, True), (INSTANT, False)])
def test_what_a_key_makes_ends_with_the_key(later: timedelta, is_allowed: bool) -> None:
    owner = make.user()
    owner.key_scopes, owner.key_ends_at = frozenset(Scope), datetime.now(UTC) + HOUR
    end = owner.key_ends_at + later

    made = code_of(lambda: api_keys.require_no_more(owner, [Scope.READ], end))
    assert made == (None if is_allowed else "PERMISSION_DENIED")
    opened = code_of(lambda: token_end(end, by=owner))
    assert opened == (None if is_allowed else "FIELD_INVALID")
    assert token_end(None, by=owner) == owner.key_ends_at


def test_key_gives_no_scope_that_it_lacks() -> None:
    owner = make.user()
    owner.key_scopes = frozenset({Scope.READ, Scope.TRADE})
    api_keys.require_no_more(owner, [Scope.TRADE, Scope.READ], NOW)
    with pytest.raises(NotAllowedError):
        api_keys.require_no_more(owner, [Scope.READ, Scope.PUBLISH], NOW)


@pytest.mark.parametrize(
    ("age", "is_still_fresh"), [(0, True), (FRESH_SECONDS, True), (FRESH_SECONDS + 1, False),
                                (-1, False)]
)  # fmt: skip
def test_second_factor_is_fresh_for_five_minutes(
    monkeypatch: pytest.MonkeyPatch, age: int, is_still_fresh: bool
) -> None:
    user = make.user()
    factor = SecondFactor.objects.create(user=user, sealed_secret=b"", last_step=0)
    request: Any = RequestFactory().get("/")
    entered = {"of": factor.enrolled_at.isoformat(), "at": 1_000_000.0}
    request.session = {SESSION_KEY: entered}
    monkeypatch.setattr("users.sign_in.session_factor.time.time", lambda: 1_000_000.0 + age)
    assert is_fresh(request, user) is is_still_fresh
    assert has_second_factor(request, user)
    entered["of"] = (factor.enrolled_at - INSTANT).isoformat()
    assert not has_second_factor(request, user), "it was entered with an earlier app"


@pytest.mark.parametrize(
    ("step", "after", "found"),
    [(98, 0, None), (99, 0, 99), (100, 0, 100), (101, 0, 101), (102, 0, None), (100, 99, 100),
     (100, 100, None), (99, 100, None), (101, 100, 101)],
)  # fmt: skip
def test_code_of_a_step_next_to_now_works_after_the_last_used(
    step: int, after: int, found: int | None
) -> None:
    code = one_time_codes.code_at(b"secret", step)
    for second in (0, 29):
        now = 100 * one_time_codes.STEP_SECONDS + second
        assert one_time_codes.matching_step(b"secret", code, now=now, after=after) == found


def test_code_that_enrolled_an_app_works_no_second_time() -> None:
    user, secret = make.user(), one_time_codes.new_secret()
    code = one_time_codes.code_at(secret, int(time.time()) // one_time_codes.STEP_SECONDS + 1)
    second_factor.enrol(user, secret, code)
    with pytest.raises(InvalidInputError):
        second_factor.check(user, code)


@pytest.mark.parametrize(
    ("age", "code"), [(confirmation.LINK_LIFE, None), (confirmation.LINK_LIFE + INSTANT,
                                                       "CONFIRMATION_INVALID")]
)  # fmt: skip
def test_link_confirms_a_channel_until_it_is_two_days_old(age: timedelta, code: str | None) -> None:
    channel = Channel.objects.create(
        user=make.user(), name="mail", url_sealed=b"", confirmation_requested_at=NOW - age
    )
    found = code_of(lambda: confirmation.confirm(channel.pk, confirmation.code_of(channel)))
    assert found == code
    assert Channel.objects.get().confirmed_at == (NOW if code is None else None)


@pytest.mark.parametrize(
    ("age", "requests"), [(confirmation.RESEND_AFTER - INSTANT, 0), (confirmation.RESEND_AFTER, 1)]
)
def test_confirmation_is_sent_again_after_five_minutes(age: timedelta, requests: int) -> None:
    channel = Channel.objects.create(
        user=make.user(), name="mail", url_sealed=b"", confirmation_requested_at=NOW - age
    )
    found = code_of(lambda: confirmation.request_confirmation(channel.pk))
    assert found == (None if requests else "CONFIRMATION_LIMIT")
    assert Event.objects.count() == requests


@pytest.mark.parametrize(("left", "number"), [(INSTANT, 2), (NOTHING, 1)])
def test_replaced_secret_signs_until_before_its_end(left: timedelta, number: int) -> None:
    channel, _ = webhook_services.create_webhook(
        user_id=make.user().pk, name="bot", url="https://example.com/"
    )
    webhook_services.rotate_secret(channel.pk)
    Channel.objects.update(previous_secret_until=NOW + left)
    assert len(webhooks.secrets_of(Channel.objects.get(), now=NOW)) == number


def test_window_of_attempts_begins_with_the_first_and_again_after_its_end() -> None:
    limit = Limit("a scope", "a key", 9, timedelta(minutes=15))
    ends, began = list[datetime](), timezone.now()
    for passed in (5, 5, 6):
        count_attempt([limit])
        ends.append(TryCount.objects.get().ends_at)
        TryCount.objects.update(ends_at=F("ends_at") - timedelta(minutes=passed))
    count_attempt([limit])
    assert ends[1:] == [ends[0] - timedelta(minutes=minutes) for minutes in (5, 10)]
    after = TryCount.objects.get()
    assert (after.tries, after.ends_at > began + limit.within) == (1, True)


def test_attempts_are_counted_up_to_the_limit_and_taken_back() -> None:
    limit = Limit("name", "alice", 2, HOUR)

    def attempt() -> bool:
        try:
            count_attempt([limit])
        except TooManyAttemptsError:
            return False
        return True

    assert [attempt() for _ in range(4)] == [True, True, False, False]
    undo_attempt([limit])
    assert [attempt(), attempt()] == [True, False], "a refused attempt was not counted"
    for _ in range(3):
        undo_attempt([limit])
    assert [attempt() for _ in range(3)] == [True, True, False], "nothing is taken back twice"
    undo_attempt([limit], forget=[limit])
    undo_attempt([limit])
    assert [attempt() for _ in range(3)] == [True, True, False], "a forgotten count starts again"


@pytest.mark.parametrize(
    ("ends", "old_ends", "code"),
    [
        (-INSTANT, None, "STATE_CONFLICT"),
        (HOUR, None, None),
        (HOUR, HOUR, None),  # as late as its own end
        (HOUR, HOUR + INSTANT, "FIELD_INVALID"),
        (HOUR, -INSTANT, "FIELD_INVALID"),
    ],
)
def test_address_for_alerts_is_replaced_before_its_end(
    ends: timedelta, old_ends: timedelta | None, code: str | None
) -> None:
    now = datetime.now(UTC)
    token, _ = create_feed_token(make.feed())
    FeedToken.objects.filter(pk=token.pk).update(expires_at=now + ends)
    old_ends_at = None if old_ends is None else now + old_ends
    assert code_of(lambda: rotate_feed_token(token.pk, old_ends_at=old_ends_at)) == code


def test_key_of_a_deactivated_user_opens_nothing() -> None:
    key, secret = create_api_key(make.user("zoe"), "k")
    assert user_for_key(secret) is not None
    User.objects.filter(pk=key.user_id).update(is_active=False)
    assert user_for_key(secret) is None
