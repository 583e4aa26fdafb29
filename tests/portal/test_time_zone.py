"""Pages show times in the zone that the user has chosen; what is typed stays in UTC."""

import re
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from common.form_fields import UtcDateTimeField
from common.templatetags.fillcast import terms
from signals.models import Signal
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.models import User

TEMPLATES = Path(__file__).parents[2] / "portal" / "templates"
# Hours that are counted in UTC, the start of a month, sessions of markets, and a choice of zone.
IN_UTC = {"By hour of publication, UTC", "since the 1st, UTC", "(UTC day)",
          "Times of markets are UTC", '"UTC"',
          ">UTC</a>"}  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("UTC", "12:30:01.000 UTC"),
        ("Europe/Berlin", "14:30:01.000 Berlin time"),
        ("America/New_York", "08:30:01.000 New York time"),
    ],
)
def test_time_is_shown_in_the_users_zone(
    world: World, signed_in: SignedIn, zone: str, shown: str
) -> None:
    at = datetime(2026, 7, 1, 12, 30, 1, tzinfo=UTC)
    Signal.objects.filter(pk=world.euro.pk).update(published_at=at)
    User.objects.filter(pk=world.alice.pk).update(time_zone=zone)
    client = signed_in(User.objects.get(pk=world.alice.pk))
    page = re.sub(r"\s+", " ", html_of(client.get(reverse("portal:signal", args=[world.euro.pk]))))
    assert shown in page
    assert timezone.get_current_timezone_name() == "UTC"  # nothing is left behind


@pytest.mark.parametrize(
    ("zone", "shown"), [("UTC", "1 Jul 2026 12:30:01 UTC"),
                        ("Europe/Berlin", "1 Jul 2026 14:30:01 Berlin time")],
)  # fmt: skip
def test_end_of_a_signal_has_its_day_and_zone(zone: str, shown: str) -> None:
    signal = Signal(valid_until=datetime(2026, 7, 1, 12, 30, 1, tzinfo=UTC), sl=D(1))
    with timezone.override(zone):
        assert terms(signal) == f"Stop 1, valid until {shown}."


def test_typed_time_is_utc_whatever_the_zone() -> None:
    field = UtcDateTimeField()
    at = datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
    with timezone.override("Europe/Berlin"):
        assert field.clean("2026-07-01T12:30") == at
        assert field.prepare_value(at) == datetime(2026, 7, 1, 12, 30)  # noqa: DTZ001


def test_no_page_names_a_zone_that_the_user_may_not_have() -> None:
    wrong = [
        f"{path.name}: {line.strip()}"
        for path in TEMPLATES.rglob("*.html")
        for line in path.read_text().splitlines()
        if re.search(r"\bUTC\b", line) and not any(text in line for text in IN_UTC)
    ]
    assert not wrong
