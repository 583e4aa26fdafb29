"""Until when messages wait, and that nothing is lost when quiet hours end."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models import F
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidInputError
from events import services
from events.channel_rules import set_kinds, set_rules
from events.models import URGENT, Channel, Delivery, EventKind
from events.services import Delivered, NewEvent
from events.waiting import WaitingRules, held_until
from tests.events.receiver import Receiver
from tests.events.test_delivery import channel_to, fill, happen, rested
from users.models import User

BERLIN, NIGHT = "Europe/Berlin", (time(22), time(7))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-01-10T12:00", None),
        ("2026-01-10T20:59", None),
        ("2026-01-10T21:00", "2026-01-11T06:00"),
        ("2026-01-11T03:00", "2026-01-11T06:00"),
        ("2026-01-11T06:00", None),
        ("2026-07-10T20:00", "2026-07-11T05:00"),
        ("2026-01-11T05:59", "2026-01-11T06:00"),
        ("2026-03-28T22:00", "2026-03-29T05:00"),  # the clocks go forward that night
        ("2026-10-24T22:00", "2026-10-25T06:00"),  # and back
    ],
)
def test_quiet_hours_are_in_the_users_time_zone(now: str, until: str | None) -> None:
    expected = None if until is None else at(until)
    assert held_until(WaitingRules(BERLIN, *NIGHT), now=at(now)) == expected


@pytest.mark.parametrize(
    ("rules", "now", "until"),
    [
        (WaitingRules(BERLIN, digest="HOURLY"), "2026-01-10T12:10", "2026-01-10T13:00"),
        (WaitingRules("Asia/Kolkata", digest="HOURLY"), "2026-01-10T12:10", "2026-01-10T12:30"),
        (WaitingRules(BERLIN, digest="DAILY", digest_at=time(18)), "2026-01-10T12:10",
         "2026-01-10T17:00"),
        (WaitingRules(BERLIN, digest="DAILY", digest_at=time(18)), "2026-01-10T17:00",
         "2026-01-11T17:00"),
        (WaitingRules(BERLIN, *NIGHT, "HOURLY"), "2026-01-10T20:30", "2026-01-11T06:00"),
        (WaitingRules(BERLIN, *NIGHT, "DAILY", time(6)), "2026-01-10T12:00", "2026-01-11T06:00"),
        (WaitingRules(BERLIN, time(9), time(17)), "2026-01-10T09:00", "2026-01-10T16:00"),
        (WaitingRules(BERLIN, time(9), time(17)), "2026-01-10T08:00", "2026-01-10T16:00"),
        (WaitingRules(BERLIN, time(9), time(17)), "2026-01-10T15:59", "2026-01-10T16:00"),
        (WaitingRules("No/Such_Zone", *NIGHT), "2026-01-10T22:00", "2026-01-11T07:00"),
        (WaitingRules(BERLIN, time(1), time(2, 30)), "2026-03-29T00:30", "2026-03-29T01:30"),
        # Clocks go back by half an hour: the second 01:45 there.
        (WaitingRules("Australia/Lord_Howe", digest="HOURLY"), "2027-04-03T15:15",
         "2027-04-03T15:30"),
    ],
)  # fmt: skip
def test_digests_wait_for_their_time_and_for_the_end_of_quiet_hours(
    rules: WaitingRules, now: str, until: str
) -> None:
    assert held_until(rules, now=at(now)) == at(until)


@pytest.mark.parametrize("now", ["2026-01-10T07:59", "2026-01-10T16:00"])
def test_quiet_hours_of_a_day_have_borders(now: str) -> None:
    assert held_until(WaitingRules(BERLIN, time(9), time(17)), now=at(now)) is None


@given(
    st.builds(
        WaitingRules,
        st.sampled_from([BERLIN, "UTC", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]),
        st.times(),
        st.times(),
        st.sampled_from(["", "HOURLY", "DAILY"]),
        st.times(),
    ),
    st.timedeltas(timedelta(0), timedelta(days=365)),
)
def test_a_message_waits_at_most_two_days_and_ends_outside_quiet_hours(
    rules: WaitingRules, elapsed: timedelta
) -> None:
    now = at("2026-01-01T00:00") + elapsed
    until = held_until(rules, now=now)
    if until is None:
        return
    assert now < until <= now + timedelta(hours=50)
    quiet = WaitingRules(rules.zone, rules.quiet_from, rules.quiet_until)
    local = until.astimezone(ZoneInfo(rules.zone))
    if local.fold == 0 and local.utcoffset() == local.replace(fold=1).utcoffset():
        assert held_until(quiet, now=until) is None


def quiet_now(channel: Channel) -> Channel:
    """Let the channel be quiet from an hour ago to two hours from now."""
    now = datetime.now(UTC)
    begins, ends = (now - timedelta(hours=1)).time(), (now + timedelta(hours=2)).time()
    return set_rules(channel.pk, quiet_from=begins, quiet_until=ends)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_when_quiet_hours_end(alice: User, hook: Receiver) -> None:
    quiet_now(channel_to(alice, hook.url()))
    waiting = happen(fill(alice), fill(alice))
    urgent = happen(NewEvent(EventKind.POSITION_UNPROTECTED, alice.pk))
    assert services.deliver() == Delivered(3, 1, 0)
    assert [event["id"] for event in hook.journal[0]["events"]] == urgent
    held = Delivery.objects.filter(hold_until__isnull=False)
    assert held.count() == 2
    rested()
    assert services.deliver() == Delivered(0, 0, 0)
    held.update(hold_until=F("hold_until") - timedelta(hours=2))
    over = set(held.values_list("hold_until", flat=True))
    assert services.deliver() == Delivered(0, 1, 0)
    assert [event["id"] for event in hook.journal[1]["events"]] == waiting
    released = Delivery.objects.filter(event_id__in=waiting)
    assert set(released.values_list("released_at", flat=True)) == over  # how late it is: /metrics
    assert set(Delivery.objects.values_list("status", flat=True)) == {"SENT"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", sorted(URGENT))
def test_urgent_kinds_wait_for_nothing(alice: User, hook: Receiver, kind: str) -> None:
    channel = quiet_now(channel_to(alice, hook.url()))
    Channel.objects.filter(pk=channel.pk).update(digest="HOURLY")
    happen(NewEvent(EventKind(kind), alice.pk))
    assert services.deliver().messages == 1


@pytest.mark.django_db(transaction=True)
def test_new_rules_release_what_waits(alice: User, hook: Receiver) -> None:
    channel = quiet_now(channel_to(alice, hook.url()))
    happen(fill(alice))
    assert services.deliver().messages == 0
    set_rules(channel.pk)
    assert services.deliver().messages == 1


@pytest.mark.django_db(transaction=True)
def test_digest_is_one_message_that_adds_up(alice: User, hook: Receiver) -> None:
    channel = channel_to(alice, hook.url())
    set_rules(channel.pk, digest="HOURLY")
    closed = [
        NewEvent(EventKind.POSITION_CLOSED, alice.pk, payload={"pnl": pnl, "currency": currency})
        for pnl, currency in (("10.50", "EUR"), ("-4.25", "EUR"), ("3", "USD"))
    ]
    happen(*closed, fill(alice))
    assert services.deliver() == Delivered(4, 0, 0)
    Delivery.objects.update(hold_until=F("hold_until") - timedelta(hours=1))
    assert services.deliver() == Delivered(0, 1, 0)
    (got,) = hook.journal
    assert got["title"] == "This hour: 1 order filled, 3 positions closed"
    assert "Closed with, in total: +6.25 EUR, +3.00 USD." in got["message"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"quiet_from": time(1)}, "quiet_until"),
        ({"quiet_until": time(1)}, "quiet_from"),
        ({"quiet_from": time(1), "quiet_until": time(1)}, "quiet_until"),
        ({"digest": "WEEKLY"}, "digest"),
        ({"digest": "DAILY"}, "digest_at"),
    ],
)
def test_rules_that_contradict_are_refused(
    alice: User, rules: dict[str, object], field: str
) -> None:
    channel = channel_to(alice, "mailto:a@example.com")
    with pytest.raises(InvalidInputError) as caught:
        set_rules(channel.pk, **rules)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.django_db
def test_kinds_of_others_channels_are_not_changed(alice: User, bob: User) -> None:
    mine, others = (channel_to(user, "mailto:a@example.com") for user in (alice, bob))
    kinds = {mine.pk: ["order.filled"], others.pk: ["order.filled"]}
    assert set_kinds(kinds, user_id=alice.pk) == 1
    others.refresh_from_db()
    assert others.kinds == []
    with pytest.raises(InvalidInputError):
        set_kinds({mine.pk: []}, user_id=alice.pk)
