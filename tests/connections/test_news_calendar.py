"""Importing news calendars: what is read, every fault with its line, and all or nothing."""

from datetime import UTC, datetime

import pytest
from django.test import Client

from common.errors import InvalidInputError, NotAllowedError
from connections import services
from connections.decisions.calendars import read_calendar
from connections.models import NewsCalendar, NewsEvent
from connections.selectors import news_around
from tests.connections import make
from tests.decisions import NEWS_AT, calendar_of

HEAD = "time,currency,impact,title\n"
GOOD = (
    HEAD + "2026-01-02T13:30:00Z,USD,high,Payrolls\n\n"
    '2026-01-01T10:00:00+02:00,eur,LOW,"Speech, with a comma"\n'
)


def faults(text: str) -> list[str]:
    return read_calendar(text.encode())[1]


def test_events_are_sorted_and_in_utc() -> None:
    events, errors = read_calendar(b"\xef\xbb\xbf" + GOOD.encode())
    assert errors == []
    assert [(e.line, e.at, e.currency, str(e.impact), e.title) for e in events] == [
        (4, datetime(2026, 1, 1, 8, tzinfo=UTC), "EUR", "LOW", "Speech, with a comma"),
        (2, datetime(2026, 1, 2, 13, 30, tzinfo=UTC), "USD", "HIGH", "Payrolls"),
    ]


def test_all_faults_are_named_with_their_lines() -> None:
    text = HEAD + (
        "2026-01-02 13:30,USD,HIGH,No offset\n"
        "2026-01-02T13:30:00Z,US,URGENT,\n"
        "2026-01-02T13:30:00Z,USD,HIGH\n"
        "2026-01-02T14:00:00Z,USD,HIGH,Good\n"
        "2026-01-02T14:00:00Z,USD,LOW,Good\n"
        "2026-13-02T14:00:00Z,USD,LOW,No such month\n"
    )
    assert faults(text) == [
        "Line 2: '2026-01-02 13:30' is no time with an offset, such as 2026-12-04T13:30:00Z.",
        "Line 3: 'US' is no currency; 'URGENT' is none of LOW, MEDIUM, HIGH;"
        " the title has 1 to 200 characters.",
        "Line 4: 3 columns instead of 4.",
        "Line 7: '2026-13-02T14:00:00Z' is no time with an offset, such as 2026-12-04T13:30:00Z.",
        "Line 6: the same event as in line 5.",
    ]


@pytest.mark.parametrize(("second", "has_hole"), [("08T13:30:00", False), ("08T13:30:01", True)])
def test_more_than_a_week_without_an_event_is_a_hole(second: str, has_hole: bool) -> None:
    text = HEAD + f"2026-01-01T13:30:00Z,USD,LOW,A\n2026-01-{second}Z,USD,LOW,B\n"
    hole = "Line 3: no event in the 7 days since line 2; the calendar has a hole."
    assert faults(text) == ([hole] if has_hole else [])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "Line 1: the columns must be time, currency, impact, title."),
        (b"time;currency;impact;title\n", "Line 1: the columns must be time, currency, impact,"),
        (HEAD.encode(), "The file has no events."),
        (HEAD.encode() + b"\xff", "Line 2: this is not UTF-8."),
        (HEAD.encode() + b"a\n\x00", "Line 3: a zero byte."),
        (HEAD.encode() + b'2026-01-01T13:30:00Z,USD,LOW,"A', "Line 2: unexpected end of data."),
        (b" " * 5_000_001, "The file has 5000001 bytes; the maximum is 5000000."),
    ],
)
def test_file_that_is_no_calendar_is_refused(data: bytes, fault: str) -> None:
    events, errors = read_calendar(data)
    assert events == []
    assert errors[0].startswith(fault)


@pytest.mark.django_db
def test_import_replaces_all_events() -> None:
    calendar = calendar_of()
    assert services.import_calendar(calendar.pk, GOOD.encode(), by=None) == 2
    calendar.refresh_from_db()
    assert (calendar.event_count, calendar.ends_at) == (2, NEWS_AT)
    assert calendar.imported_at is not None
    assert [e.title for e in news_around(calendar.pk, NEWS_AT, NEWS_AT)] == ["Payrolls"]


@pytest.mark.django_db
def test_file_with_a_fault_changes_nothing() -> None:
    calendar = calendar_of()
    with pytest.raises(InvalidInputError, match="Line 3: 1 columns instead of 4"):
        services.import_calendar(calendar.pk, (HEAD + "\nx\n").encode(), by=None)
    assert NewsEvent.objects.get().title == "Payrolls"
    assert NewsCalendar.objects.get().event_count == 1


@pytest.mark.django_db
def test_only_the_owner_imports() -> None:
    alice = make.user("alice")
    mine, shared = calendar_of(alice), calendar_of(None)
    services.import_calendar(mine.pk, GOOD.encode(), by=alice)
    for calendar in (shared, calendar_of(make.user("bob"))):
        with pytest.raises(NotAllowedError):
            services.import_calendar(calendar.pk, GOOD.encode(), by=alice)


@pytest.mark.django_db
def test_console_imports_pasted_events_or_names_faults(admin_client: Client) -> None:
    calendar = calendar_of()
    page = f"/admin/connections/newscalendar/{calendar.pk}/change/"
    refused = admin_client.post(page, {"name": "n", "csv": HEAD + "x\n"})
    assert "Line 2: 1 columns instead of 4" in refused.content.decode()
    assert NewsEvent.objects.get().title == "Payrolls"
    assert admin_client.post(page, {"name": "n", "csv": GOOD}).status_code == 302
    assert NewsEvent.objects.count() == 2
    assert admin_client.post(page, {"name": "m", "csv": ""}).status_code == 302
    assert NewsEvent.objects.count() == 2
