"""The cached history equals its JSON, and each record is parsed once."""

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
STRANGE_COMMENTS = [
    "", "[sl]", "from #12", "}, ", '"}, "', 'x"}, "9": {"a', '"}, "8": 5, "7": {"b": "', "\\", "{",
    '"', "é", "}",
]  # fmt: skip


def record_text(number: int, comment: str = "", values: dict[str, object] = PAST) -> str:
    """Return a record as the expert advisor writes it: the comment last and not escaped."""
    return f'"{number}": {json.dumps(values)[:-1]}, "comment": "{comment}"}}'


def test_each_record_is_parsed_once() -> None:
    read: list[str] = []

    def parse_record(text: str) -> tuple[parse.Ticket, ...]:
        read.append(text)
        return parse._closed(text)

    cache = HistoryCache()
    history = TerminalHistory(cache)
    first = history.read(f"{{{record_text(5)}, {record_text(6, '[sl]')}}}\r\n", parse_record)
    assert [one.number for one in first] == [5, 6]
    reread = history.read(
        f"{{{record_text(7)}, {record_text(5)}, {record_text(6, '[sl]')}}}", parse_record
    )
    assert [one.number for one in reread] == [7, 5, 6]
    assert reread[1] is first[0]
    assert [one[:4] for one in read] == ['{"5"', '{"6"', '{"7"']
    # A record is recognised by its text, not by its number.
    [changed] = history.read(f"{{{record_text(5, 'to #8')}}}", parse_record)
    assert changed.remainder == 8
    assert len(history) == len(cache) == 1  # records that the terminal no longer lists are dropped


def file_of(first: int, size: int) -> str:
    return f"{{{', '.join(record_text(n) for n in range(first, first + size))}}}"


def test_history_too_long_for_cache_is_parsed_as_a_whole() -> None:
    cache, read = HistoryCache(10), list[str]()

    def parse_record(text: str) -> tuple[parse.Ticket, ...]:
        read.append(text)
        return parse._closed(text)

    history = TerminalHistory(cache)
    assert len(history.read(file_of(1, 10), parse_record)) == 10
    assert len(read) == len(cache) == 10
    assert (
        len(history.read(file_of(1, 11), parse_record)) == 11
    )  # one more than the cache has room for
    assert len(read) == 11
    assert len(cache) == 0
    for _ in range(3):
        read.clear()
        assert len(history.read(file_of(1, 11), parse_record)) == 11
        assert read == [file_of(1, 11)]


def test_last_record_of_repeated_ticket_counts() -> None:
    text = f"{{{record_text(5)}, {record_text(5, 'to #8')}, {record_text(6)}, {record_text(5)}}}"
    assert TerminalHistory(HistoryCache()).read(text, parse._closed) == parse._closed(text)


def test_histories_share_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HistoryCache(100)
    large, middle, small, last = (TerminalHistory(cache) for _ in range(4))

    def sizes(history: TerminalHistory, size: int) -> list[int]:
        tickets = history.read(file_of(1, size), parse._closed)
        assert len(tickets) == size
        assert len(cache) <= 100
        return [len(history) for history in (large, middle, small, last)]

    assert sizes(large, 90) == [90, 0, 0, 0]
    assert sizes(middle, 60) == [90, 0, 0, 0]  # a history does not evict one of similar size
    assert sizes(small, 30) == [0, 0, 30, 0]
    assert sizes(large, 90) == [0, 0, 30, 0]
    assert sizes(middle, 60) == [0, 60, 30, 0]
    assert sizes(last, 35) == [0, 60, 30, 0]
    large.used_at = middle.used_at = small.used_at = -1e9
    assert sizes(last, 35) == [0, 0, 30, 35]  # histories unused for an hour are evicted


@pytest.mark.parametrize("comment", STRANGE_COMMENTS)
@pytest.mark.parametrize("is_escaped", [False, True])
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("platform", ["mt4", "mt5"])
def test_cached_history_equals_its_json(
    comment: str, is_escaped: bool, position: int, platform: str
) -> None:
    parse_text = parse._closed if platform == "mt4" else mt5_deals._read_deals
    comments = ["first", "second", "third"]
    comments[position] = json.dumps(comment)[1:-1] if is_escaped else comment
    values = PAST if platform == "mt4" else DEAL
    text = f"{{{', '.join(record_text(n, one, values) for n, one in enumerate(comments, 5))}}}"
    for text_read in (text, text[:-1], text[: len(text) // 2], text[:-1] + ', "extra": 1}'):
        assert outcome(
            lambda text: TerminalHistory(HistoryCache()).read(text, parse_text), text_read
        ) == outcome(parse_text, text_read)


def outcome(read: object, text: str) -> object:
    assert callable(read)
    try:
        return read(text)
    except ValueError:
        return "malformed"


def test_second_record_of_ticket_replaces_first() -> None:
    raw = f"{{{record_text(5, 'to #6')}, {record_text(5, 'to #7')}}}".encode()
    [ticket] = parse.history(TerminalHistory(), raw)
    assert ticket.remainder == 7


def test_client_order_id_depends_on_magic_number_too() -> None:
    """A cached comment counts only with its magic number."""
    [ours] = parse.snapshot(orders()).tickets
    [other] = parse.snapshot(orders(magic=1)).tickets
    assert parse.client_order_id_of(ours, {}) == ORDER["comment"]
    assert parse.client_order_id_of(other, {}) == ""


# ---- which fills are reported ----------------------------------------------------------------
def busy_day(closed: int, ago: timedelta = timedelta(seconds=50)) -> Mt4Reports:
    """Return a history in which so many of our trades happened at the same time."""
    at = f"{datetime.now(UTC) - ago:%Y.%m.%d %H:%M:%S}"
    records = []
    for number in range(closed):
        client_order_id = f"zday{number:014}"
        values = {
            **PAST,
            "magic": parse.magic_of(client_order_id),
            "open_time": at,
            "close_time": at,
        }
        records.append(record_text(1000 + number, client_order_id, values))
    account = parse.account_of({"account_info": ACCOUNT})
    spec = ConnectionSpec("c1", "4711", settings={"symbols": "EURUSD"})
    history = parse.history(TerminalHistory(), f"{{{', '.join(records)}}}".encode())
    return Mt4Reports(spec, Zone("UTC"), Snapshot(account, ()), history, [], {})


def test_busy_minute_is_reported_once() -> None:
    watch, client = FileWatcher(), make_client()
    watch._watched["c1"] = watched = WatchedTerminal(client)
    for closed in (500, 500, 501):
        watch.report_books(client, busy_day(closed))
    fills = reported_fills(watch)
    assert len(fills) == len(set(fills)) == 2 * 501
    assert set(watched.reported) == set(fills)


def test_old_fills_are_not_remembered_as_reported() -> None:
    watch, client = FileWatcher(), make_client()
    watch._watched["c1"] = watched = WatchedTerminal(
        client, since=datetime.now(UTC) - timedelta(hours=1)
    )
    for _ in range(2):
        watch.report_books(client, busy_day(3, timedelta(minutes=5)))
    assert len(reported_fills(watch)) == 6
    assert watched.reported == {}


def reported_fills(watch: FileWatcher) -> list[str]:
    return [
        fill.broker_fill_id for report in watch.event_buffer.read(5000, "") for fill in report.fills
    ]


def make_client() -> DwxClient:
    return DwxClient(ConnectionSpec("c1", "4711"), Terminal(Path("/nowhere")), Zone("UTC"))


def test_known_fills_are_left_out() -> None:
    reports, since = busy_day(3), datetime.now(UTC) - timedelta(minutes=2)
    known = {"1000:in", "1000:out", "1001:in", "1002:out"}
    fills = [one.fills[0].broker_fill_id for one in reports.changes_since(None, since, known)]
    assert sorted(fills) == ["1001:out", "1002:in"]


@pytest.mark.parametrize("name", ["NY+7", "UTC+14", "UTC-99", "UTC+99", "Pacific/Kiritimati"])
def test_earliest_possible_server_time_is_before_the_moment(name: str) -> None:
    zone, hours = Zone(name), count()
    for moment in (datetime(2026, 3, 8, 6, tzinfo=UTC) + timedelta(hours=n) for n in range(30)):
        shown = earliest_possible(moment) - timedelta(seconds=1) - timedelta(hours=next(hours))
        assert zone.utc(shown) < moment


def test_poll_pause_grows_with_response_time() -> None:
    assert poll_pause(0) == poll_pause(0.01) == 0.005
    assert poll_pause(0.05) == 0.01
    assert poll_pause(0.5) == poll_pause(60) == 0.015
