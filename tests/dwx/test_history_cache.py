"""The history is read as its JSON says, and each record of it once."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from brokers.dwx import mt5_deals, parse
from brokers.dwx.client import DwxClient
from brokers.dwx.file_watcher import FileWatcher, WatchedTerminal
from brokers.dwx.history_cache import HistoryCache, TerminalHistory
from brokers.dwx.mt4_reports import Mt4Reports
from brokers.dwx.parse import Snapshot
from brokers.dwx.server_time import Zone, earliest_possible
from brokers.dwx.shared_files import poll_pause
from brokers.dwx.terminal import Terminal
from brokers.types import ConnectionSpec
from tests.dwx.file_samples import ACCOUNT, ORDER, orders

PAST = {
    **{key: value for key, value in ORDER.items() if key != "comment"},
    "close_time": "2026.11.20 18:00:00", "close_price": 1.1,
}  # fmt: skip
DEAL = {
    "magic": 5, "symbol": "EURUSD", "lots": 0.1, "type": "buy", "entry": "entry_in",
    "deal_time": "2026.11.20 18:00:00", "deal_price": 1.1, "pnl": 0.0, "commission": 0.0,
    "swap": 0.0,
}  # fmt: skip
STRANGE = [
    "", "[sl]", "from #12", "}, ", '"}, "', 'x"}, "9": {"a', '"}, "8": 5, "7": {"b": "', "\\", "{",
    '"', "é", "}",
]  # fmt: skip


def told(number: int, comment: str = "", like: dict[str, object] = PAST) -> str:
    """A record as an expert advisor writes it: the comment last, and whatever stands in it."""
    return f'"{number}": {json.dumps(like)[:-1]}, "comment": "{comment}"}}'


def test_each_record_is_read_once() -> None:
    read: list[str] = []

    def record(text: str) -> tuple[parse.Ticket, ...]:
        read.append(text)
        return parse._closed(text)

    shelf = HistoryCache()
    past = TerminalHistory(shelf)
    first = past.read(f"{{{told(5)}, {told(6, '[sl]')}}}\r\n", record)
    assert [one.number for one in first] == [5, 6]
    again = past.read(f"{{{told(7)}, {told(5)}, {told(6, '[sl]')}}}", record)
    assert [one.number for one in again] == [7, 5, 6]
    assert again[1] is first[0]
    assert [one[:4] for one in read] == ['{"5"', '{"6"', '{"7"']
    [changed] = past.read(f"{{{told(5, 'to #8')}}}", record)  # by its text, not by its number
    assert changed.remainder == 8
    assert len(past) == len(shelf) == 1  # what the terminal tells no more is not kept


def file_of(first: int, size: int) -> str:
    return f"{{{', '.join(told(n) for n in range(first, first + size))}}}"


def test_a_history_that_is_too_long_to_be_kept_is_read_at_once() -> None:
    shelf, read = HistoryCache(10), list[str]()

    def record(text: str) -> tuple[parse.Ticket, ...]:
        read.append(text)
        return parse._closed(text)

    past = TerminalHistory(shelf)
    assert len(past.read(file_of(1, 10), record)) == 10
    assert len(read) == len(shelf) == 10
    assert len(past.read(file_of(1, 11), record)) == 11  # one more than there is room for
    assert len(read) == 11
    assert len(shelf) == 0
    for _ in range(3):
        read.clear()
        assert len(past.read(file_of(1, 11), record)) == 11
        assert read == [file_of(1, 11)]


def test_a_number_that_comes_again_is_what_was_told_last() -> None:
    text = f"{{{told(5)}, {told(5, 'to #8')}, {told(6)}, {told(5)}}}"
    assert TerminalHistory(HistoryCache()).read(text, parse._closed) == parse._closed(text)


def test_what_many_histories_keep_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = HistoryCache(100)
    long, middle, small, late = (TerminalHistory(shelf) for _ in range(4))

    def sizes(one: TerminalHistory, size: int) -> list[int]:
        found = one.read(file_of(1, size), parse._closed)
        assert len(found) == size
        assert len(shelf) <= 100
        return [len(one) for one in (long, middle, small, late)]

    assert sizes(long, 90) == [90, 0, 0, 0]
    assert sizes(middle, 60) == [90, 0, 0, 0]  # nobody takes the place of his like
    assert sizes(small, 30) == [0, 0, 30, 0]
    assert sizes(long, 90) == [0, 0, 30, 0]
    assert sizes(middle, 60) == [0, 60, 30, 0]
    assert sizes(late, 35) == [0, 60, 30, 0]
    long.asked = middle.asked = small.asked = -1e9
    assert sizes(late, 35) == [0, 0, 30, 35]  # what nobody asked for in an hour gives way


@pytest.mark.parametrize("comment", STRANGE)
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["mt4", "mt5"])
def test_a_history_says_what_its_json_says(
    comment: str, escaped: bool, place: int, kind: str
) -> None:
    read = parse._closed if kind == "mt4" else mt5_deals._read_deals
    comments = ["first", "second", "third"]
    comments[place] = json.dumps(comment)[1:-1] if escaped else comment
    like = PAST if kind == "mt4" else DEAL
    text = f"{{{', '.join(told(n, one, like) for n, one in enumerate(comments, 5))}}}"
    for cut in (text, text[:-1], text[: len(text) // 2], text[:-1] + ', "extra": 1}'):
        assert outcome(
            lambda text: TerminalHistory(HistoryCache()).read(text, read), cut
        ) == outcome(read, cut)


def outcome(read: object, text: str) -> object:
    assert callable(read)
    try:
        return read(text)
    except ValueError:
        return "malformed"


def test_of_a_number_that_comes_twice_the_last_counts() -> None:
    raw = f"{{{told(5, 'to #6')}, {told(5, 'to #7')}}}".encode()
    [found] = parse.history(TerminalHistory(), raw)
    assert found.remainder == 7


def test_whose_a_ticket_is_does_not_stay_with_its_comment() -> None:
    """What is remembered of a comment is remembered of its magic number, too."""
    [ours] = parse.snapshot(orders()).tickets
    [other] = parse.snapshot(orders(magic=1)).tickets
    assert parse.client_order_id_of(ours, {}) == ORDER["comment"]
    assert parse.client_order_id_of(other, {}) == ""


# ---- how much is told of it ------------------------------------------------------------------
def busy(closed: int, ago: timedelta = timedelta(seconds=50)) -> Mt4Reports:
    """A day with so many trades of ours, all at once."""
    at = f"{datetime.now(UTC) - ago:%Y.%m.%d %H:%M:%S}"
    lines = []
    for number in range(closed):
        name = f"zday{number:014}"
        like = {**PAST, "magic": parse.magic_of(name), "open_time": at, "close_time": at}
        lines.append(told(1000 + number, name, like))
    account = parse.account_of({"account_info": ACCOUNT})
    spec = ConnectionSpec("c1", "4711", settings={"symbols": "EURUSD"})
    history = parse.history(TerminalHistory(), f"{{{', '.join(lines)}}}".encode())
    return Mt4Reports(spec, Zone("UTC"), Snapshot(account, ()), history, [], {})


def test_a_busy_minute_is_told_once_however_often_it_is_looked_at() -> None:
    watch, client = FileWatcher(), one_client()
    watch._watched["c1"] = one = WatchedTerminal(client)
    for closed in (500, 500, 501):
        watch.report_books(client, busy(closed))
    fills = told_fills(watch)
    assert len(fills) == len(set(fills)) == 2 * 501
    assert set(one.reported) == set(fills)


def test_what_no_clock_tells_again_is_not_remembered_as_told() -> None:
    watch, client = FileWatcher(), one_client()
    watch._watched["c1"] = one = WatchedTerminal(
        client, since=datetime.now(UTC) - timedelta(hours=1)
    )
    for _ in range(2):
        watch.report_books(client, busy(3, timedelta(minutes=5)))
    assert len(told_fills(watch)) == 6
    assert one.reported == {}


def told_fills(watch: FileWatcher) -> list[str]:
    return [
        fill.broker_fill_id for told in watch.event_buffer.read(5000, "") for fill in told.fills
    ]


def one_client() -> DwxClient:
    return DwxClient(ConnectionSpec("c1", "4711"), Terminal(Path("/nowhere")), Zone("UTC"))


def test_executions_that_need_not_be_told_are_left_out() -> None:
    books, since = busy(3), datetime.now(UTC) - timedelta(minutes=2)
    known = {"1000:in", "1000:out", "1001:in", "1002:out"}
    fills = [one.fills[0].broker_fill_id for one in books.changes_since(None, since, known)]
    assert sorted(fills) == ["1001:out", "1002:in"]


@pytest.mark.parametrize("name", ["NY+7", "UTC+14", "UTC-99", "UTC+99", "Pacific/Kiritimati"])
def test_what_is_left_out_unread_was_before_the_moment(name: str) -> None:
    zone, hours = Zone(name), count()
    for moment in (datetime(2026, 3, 8, 6, tzinfo=UTC) + timedelta(hours=n) for n in range(30)):
        shown = earliest_possible(moment) - timedelta(seconds=1) - timedelta(hours=next(hours))
        assert zone.utc(shown) < moment


def test_what_answers_at_once_is_looked_at_soon() -> None:
    assert poll_pause(0) == poll_pause(0.01) == 0.005
    assert poll_pause(0.05) == 0.01
    assert poll_pause(0.5) == poll_pause(60) == 0.015
