"""Recordings are read strictly and played in order, with nothing left out."""

import gzip
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import Quote
from common.clocks import MarketClock, set_market_clock
from common.errors import MisconfiguredError
from prices.recorded_streams import ReplayStream
from prices.recordings import DATA, DEFAULT_FILE, Tape, find_recording, read_quotes
from prices.replay_session import ManualReplay, prepare, read_start

NOON = datetime(2014, 5, 2, 12, tzinfo=UTC)
HEADER = "time_ms,symbol,bid,ask\n"


def at(second: int) -> datetime:
    return NOON + timedelta(seconds=second)


def quotes(*seconds: int, symbol: str = "EUR/USD") -> list[Quote]:
    """One quote a second given; its bid is its number in the list."""
    return [Quote(symbol, D(i + 1), D(i + 2), at(second)) for i, second in enumerate(seconds)]


def recording(folder: Path, text: str) -> Path:
    path = folder / "recorded.csv"
    path.write_text(text)
    return path


def test_bundled_recording_is_the_payrolls_release() -> None:
    recorded = list(read_quotes(DATA / DEFAULT_FILE))
    assert len(recorded) == 12_780
    assert (recorded[0].time, recorded[-1].time) == (NOON, at(7199))
    euro = {q.time: q for q in recorded if q.symbol == "EUR/USD"}
    assert (euro[at(1800)].bid, euro[at(1801)].bid) == (D("1.38593"), D("1.38254"))
    assert {q.symbol for q in recorded} == {"EUR/USD", "NZD/USD", "XAU/USD"}


def test_plain_and_packed_files_are_read_alike(tmp_path: Path) -> None:
    text = HEADER + "1399032000000,EUR/USD,1.38671,1.38683\n"
    packed = tmp_path / "recorded.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    expected = [Quote("EUR/USD", D("1.38671"), D("1.38683"), NOON)]
    assert list(read_quotes(recording(tmp_path, text))) == expected
    assert list(read_quotes(packed)) == expected


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("1399032000000,EUR/USD,1.38671", "expected 4 fields"),
        ("1399032000000,EUR/USD,1.38671,1.38683,9", "expected 4 fields"),
        ("2014-05-02,EUR/USD,1.38671,1.38683", "time_ms"),
        ("1399032000000.5,EUR/USD,1.38671,1.38683", "time_ms"),
        ("999999999999999,EUR/USD,1.38671,1.38683", "line 3"),
        ("1399032000000,EURUSD,1.38671,1.38683", "symbol"),
        ("1399032000000,eur/usd,1.38671,1.38683", "symbol"),
        ("1399032000000,EUR/USD,NaN,1.38683", "NaN"),
        ("1399032000000,EUR/USD,1e0,1.38683", "1e0"),
        ("1399032000000,EUR/USD,１.3,1.38683", "decimal"),
        ("1399032000000,EUR/USD,0,1.38683", "greater than 0"),
        ("1399032000000,EUR/USD,1.38671,1.38670", "below bid"),
        ("1399031999999,EUR/USD,1.38671,1.38683", "earlier"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, wrong: str) -> None:
    good = "1399032000000,EUR/USD,1.38671,1.38683\n"
    reading = read_quotes(recording(tmp_path, HEADER + good + line + "\n"))
    assert next(reading).symbol == "EUR/USD"
    with pytest.raises(MisconfiguredError, match=wrong) as caught:
        next(reading)
    assert "recorded.csv, line 3:" in str(caught.value)


@pytest.mark.parametrize("text", ["", "time,symbol,bid,ask\n", "1399032000000,EUR/USD,1,2\n"])
def test_a_file_without_the_header_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(MisconfiguredError, match="line 1: expected time_ms,symbol,bid,ask"):
        next(read_quotes(recording(tmp_path, text)))


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(HEADER.encode() * 100)[:-9])
    for path in (tmp_path / "missing.csv", broken):
        with pytest.raises(MisconfiguredError, match=path.name):
            list(read_quotes(path))
    noise = tmp_path / "noise.csv.gz"
    noise.write_bytes(b"no gzip at all")
    with pytest.raises(MisconfiguredError, match="cannot be read"):
        list(read_quotes(noise))


def test_only_operator_may_name_any_path(tmp_path: Path) -> None:
    path = recording(tmp_path, HEADER)
    assert find_recording(str(path), trusted=True) == path
    assert find_recording(DEFAULT_FILE, trusted=False) == DATA / DEFAULT_FILE
    for name in (str(path), "../replay.py", "README.md", ""):
        with pytest.raises(MisconfiguredError, match=DEFAULT_FILE):
            find_recording(name, trusted=False)


@given(
    gaps=st.lists(st.integers(0, 5), max_size=30),
    looks=st.lists(st.integers(0, 9), max_size=30),
)
def test_tape_returns_each_quote_once_in_order_and_on_time(
    gaps: list[int], looks: list[int]
) -> None:
    seconds = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    recorded = quotes(*seconds)
    tape, handed, now = Tape(iter(recorded)), [], 0
    for look in looks:
        now += look
        due = tape.until(at(now))
        assert all(one.time <= at(now) for one in due)
        handed += due
        assert len(handed) == sum(second <= now for second in seconds)
    handed += tape.until(at(10_000))
    assert handed == recorded
    assert tape.is_over


def test_seeking_returns_prices_valid_at_that_time() -> None:
    recorded = [*quotes(0, 5, 9), Quote("XAU/USD", D(7), D(8), at(10))]
    tape = Tape(iter([*recorded, *quotes(20)]))
    assert tape.skip_to(at(12)) == [
        Quote("EUR/USD", D(3), D(4), at(12)),
        Quote("XAU/USD", D(7), D(8), at(12)),
    ]
    assert tape.until(at(19)) == []
    assert [quote.time for quote in tape.until(at(20))] == [at(20)]


def test_first_start_begins_at_market_clock() -> None:
    stream = ReplayStream(Tape(iter(quotes(0, 5, 9, 12))), since=None)
    assert [(q.bid, q.time) for q in stream.due(at(10))] == [(D(3), at(10))]
    assert [q.bid for q in stream.due(at(12))] == [D(4)]
    assert stream.due(at(99)) == []


def test_resumed_tape_returns_everything_missed() -> None:
    stream = ReplayStream(Tape(iter(quotes(0, 5, 9, 12))), since=at(5))
    assert [q.bid for q in stream.due(at(10))] == [D(3)]
    assert [q.bid for q in stream.due(at(12))] == [D(4)]


@pytest.mark.parametrize("since", [None, 5, 60])
def test_last_prices_repeat_after_end_if_configured(
    since: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [0.0]
    monkeypatch.setattr("prices.recorded_streams.machine_time", lambda: shown[0])
    tape = Tape(iter(quotes(0, 5, 9)))
    stream = ReplayStream(tape, since=None if since is None else at(since), repeats_last=True)
    stream.due(at(90))
    shown[0] += 1
    assert stream.due(at(100)) == [Quote("EUR/USD", D(3), D(4), at(100))]
    assert stream.due(at(101)) == []
    shown[0] += 1
    assert [q.time for q in stream.due(at(160))] == [at(160)]


def test_replay_in_real_time_dates_quotes_at_arrival() -> None:
    """At 60x, a recorded minute passes in a second, in its recorded proportions."""
    shown = [at(0)]

    class Shown(MarketClock):
        def now(self) -> datetime:
            return shown[0]

    tape = Tape(iter(quotes(0, 30, 45, 61)))
    replay = ManualReplay(tape, Shown(at(0), at(0), 60), restamp=True)
    now = datetime.now(UTC)
    assert [q.time for q in replay.due(now)] == [now]
    shown[0] = at(60)
    later = now + timedelta(seconds=1)
    assert [later - q.time for q in replay.due(later)] == [
        timedelta(milliseconds=500),
        timedelta(milliseconds=250),
    ]
    assert not replay.is_over
    shown[0] = at(61)
    assert [q.bid for q in replay.due(later)] == [D(4)]
    assert replay.is_over


def test_replay_under_market_clock_keeps_recorded_times(tmp_path: Path) -> None:
    path = recording(tmp_path, HEADER + "1399032000000,EUR/USD,1,2\n1399032005000,EUR/USD,3,4\n")
    set_market_clock(MarketClock(at(5), datetime.now(UTC), 0))
    try:
        replay = prepare(path, start="13:00", speed=1)
        assert replay.at == at(5)
        assert replay.due(datetime.now(UTC)) == [Quote("EUR/USD", D(3), D(4), at(5))]
        assert replay.is_over
    finally:
        set_market_clock(None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12:29", NOON.replace(minute=29)),
        ("12:29:30", NOON.replace(minute=29, second=30)),
        ("2014-05-02T12:29Z", NOON.replace(minute=29)),
        ("2014-05-02T14:29+02:00", NOON.replace(minute=29)),
        ("2014-05-02T12:29", NOON.replace(minute=29)),
    ],
)
def test_start_time_formats_are_accepted(text: str, expected: datetime) -> None:
    assert read_start(text, NOON.replace(hour=9)) == expected


@pytest.mark.parametrize("text", ["noon", "25:00", "12:60", ""])
def test_invalid_start_time_is_refused(text: str) -> None:
    with pytest.raises(MisconfiguredError, match="--start"):
        read_start(text, NOON)
