"""Levels that may be distances, entries that may be two, emoji: what is never read as a trade."""

import json
import re
import unicodedata
from decimal import Decimal as D
from itertools import chain
from pathlib import Path

import pytest
from django.core.cache import cache
from hypothesis import given
from hypothesis import strategies as st

from alerts.carry_out import trades as alert_trades
from alerts.grammar.decoration import is_plain
from alerts.preview import preview_alert
from alerts.reading import AlertSignal, needs_quote, read_alert
from common.clocks import market_now
from common.errors import FillcastError, InvalidInputError
from common.reason_codes import Code
from signals import open_signals
from signals.checks import price_guard
from signals.checks.price_guard import Reference
from signals.feeds import services as feeds
from signals.feeds.rate import forget_failures
from signals.models import Feed, Signal
from tests.alert_inbox import deliver
from tests.alerts.alert_rendering import rendered
from users.tenancy import on_behalf_of

ROOT = Path(__file__).parents[2]

# A symbol, and how far its stop may be from the entry: the larger price above the smaller one.
SYMBOLS = {
    "EURUSD": D("0.05"), "AUDJPY": D("0.05"), "EURHUF": D("0.12"), "USDMXN": D("0.12"),
    "EURCZK": D("0.12"), "XAUUSD": D("0.12"), "XAGUSD": D("0.12"), "GOLD": D("0.12"),
    "WTI": D("0.15"), "NDX": D("0.15"), "NASDAQ": D("0.15"), "US30": D("0.15"),
    "ESZ2026": D("0.15"), "AAPL": D("0.15"), "BTCUSDT": D("0.3"), "LTCUSDT": D("0.3"),
    "DOGEUSDT": D("0.3"),
}  # fmt: skip
FORMS = [
    "{side} {symbol} {entry} SL {sl} TP {tp}", "{symbol} {side} {entry} TP {tp} SL {sl}",
    "{side} {symbol} {entry}\nStop Loss: {sl}\nTake Profit 1: {tp}",
    "{side} {symbol} {entry} SL {sl}",
    "Pair: {symbol}\nSide: {side}\nSL: {sl}\nTP: {tp}\n{entry}",
]  # fmt: skip
NUMBERS = st.builds(
    lambda digits, places: str(D(digits).scaleb(places).normalize().__format__("f")),
    st.integers(1, 99_999), st.integers(-4, 2),
)  # fmt: skip


def opened(text: str) -> AlertSignal | None:
    """Return the entry that a text is read as; None: it is refused."""
    try:
        alert = read_alert(text.encode())
    except InvalidInputError:
        return None
    assert isinstance(alert, AlertSignal)
    return alert


def apart(one: D, other: D) -> D:
    return max(one, other) / min(one, other) - 1


@given(
    st.sampled_from(sorted(SYMBOLS)), st.sampled_from(["BUY", "SELL"]), st.sampled_from(FORMS),
    NUMBERS, NUMBERS, NUMBERS,
)  # fmt: skip
def test_stop_is_never_further_from_the_stated_entry_than_its_bound(
    symbol: str, side: str, form: str, entry: str, sl: str, tp: str
) -> None:
    text = form.format(side=side, symbol=symbol, entry=f"@ {entry}", sl=sl, tp=tp)
    alert = opened(text)
    if alert is not None and alert.draft.sl is not None:
        assert alert.draft.open_price is not None
        assert apart(alert.draft.sl, alert.draft.open_price) <= SYMBOLS[symbol], text


@given(
    st.sampled_from(sorted(SYMBOLS)), st.sampled_from(["BUY", "SELL"]), st.sampled_from(FORMS),
    st.integers(1, 400), st.integers(1, 400),
)  # fmt: skip
def test_whole_levels_without_an_entry_price_are_read_only_close_together_or_with_a_quote(
    symbol: str, side: str, form: str, sl: int, tp: int
) -> None:
    text = form.format(side=side, symbol=symbol, entry="now", sl=sl, tp=tp)
    alert = opened(text)
    if alert is None or needs_quote(alert.draft, alert.level_form):
        return
    assert "TP" in text.upper() or "PROFIT" in text.upper()
    assert apart(D(sl), D(tp)) <= (D("0.35") if symbol == "AAPL" else D("0.25")), text


@given(
    st.sampled_from(sorted(SYMBOLS)), st.sampled_from(["BUY", "SELL"]), st.integers(1, 49),
    st.integers(2, 4),
)  # fmt: skip
def test_usual_pips_of_a_market_entry_are_never_prices(
    symbol: str, side: str, tens: int, reward: int
) -> None:
    stop, target = (5 * tens, 5 * tens * reward)[:: 1 if side == "BUY" else -1]
    for text in (f"{side} {symbol} NOW SL {stop} TP {target}", f"{side} {symbol} SL {stop}"):
        alert = opened(text)
        assert alert is None or needs_quote(alert.draft, alert.level_form), text


SIGNS = "".join(
    chr(code) for code in range(0x2190, 0x1FB00)
    if unicodedata.category(chr(code)) in ("So", "Sk")
)  # fmt: skip
PLACES = ["{} BUY EURUSD @ 1.0850 SL 1.0800", "BUY {} EURUSD @ 1.0850 SL 1.0800",
          "BUY EURUSD @ 1.0850 SL 1.0800 {}", "BUY EURUSD NOW\n{}",
          "{}\nBUY EURUSD NOW"]  # fmt: skip


@given(st.sampled_from(SIGNS), st.sampled_from(PLACES))
def test_emoji_that_is_not_listed_refuses_an_entry(sign: str, place: str) -> None:
    text = place.format(sign)
    shown = rendered(text)
    if sign == "➖":
        return  # a dash
    if is_plain(sign, text):
        assert shown.startswith("refuse") or shown == rendered(text.replace(sign, " ")), text
    else:
        assert shown.startswith("refuse"), text


def test_most_emoji_are_not_listed() -> None:
    faces = [chr(code) for code in range(0x1F600, 0x1F650)]
    assert [face for face in faces if is_plain(face, "BUY EURUSD NOW")] == ["🙏"]


@given(
    st.sampled_from(["NOW", "market", "CMP", "at market price"]),
    st.sampled_from(
        [" & ", ", ", " / ", " | ", "; ", " and ", " - ", " or ", " then ", " + ", "\n"]
    ),
    st.sampled_from(["{first}", "Entry: {first}", "Entry price: {first}", "Buy: {first}"]),
    st.booleans(), st.integers(64_000, 65_500),
)  # fmt: skip
def test_market_and_a_price_in_one_place_are_never_one_market_entry(
    market: str, joint: str, label: str, is_first: bool, price: int
) -> None:
    first, second = (market, str(price)) if is_first else (str(price), market)
    if joint == "\n" and not (is_first and label.startswith("Entry")):
        return  # “Entry: 64500”, and “Market” below it, “BUY NOW”, and the price below it
    entry = label.format(first=f"{first}{joint}{second}")
    text = f"LONG BTCUSDT\n{entry}\nSL: 63000\nTP: 67000"
    assert rendered(text).startswith("refuse"), text


@given(
    st.sampled_from([", ", " / ", " & ", " and ", "; ", " or "]), st.integers(2340, 2344),
    st.integers(2345, 2350), st.sampled_from(["@ {}", "Entry: {}", "NOW {}", "NOW @ {}", "{}"]),
)  # fmt: skip
def test_two_prices_in_the_entry_place_are_never_one_entry(
    joint: str, low: int, high: int, place: str
) -> None:
    text = f"BUY XAUUSD {place.format(f'{high}{joint}{low}')} SL 2335 TP 2360"
    assert rendered(text).startswith("refuse"), text


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


@pytest.fixture
def all_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each published signal counts as open: there is no account in these tests."""
    monkeypatch.setattr(open_signals, "_sources", ["true"])
    monkeypatch.setattr(alert_trades, "_filled_sources", [])


@pytest.fixture
def secret(feed: Feed) -> str:
    return feeds.create_feed_token(feed)[1]


def quote(monkeypatch: pytest.MonkeyPatch, price: str) -> None:
    found = Reference(bid=D(price), ask=D(price), time=market_now(), source="test")
    monkeypatch.setattr(price_guard, "_source", lambda *_args, **_kwargs: found)


@pytest.mark.parametrize("text", [
    "BUY SOLUSDT NOW SL 140", "LONG AAPL NOW SL 180", "LONG DOTUSDT, leverage 5, SL 4.2, TP 7",
    '{"action":"OPEN","direction":"BUY","symbol":"AAPL","sl":180}',
])  # fmt: skip
def test_level_that_may_be_a_distance_needs_a_quote(feed: Feed, secret: str, text: str) -> None:
    with on_behalf_of(feed.owner):
        assert preview_alert(feed, text.encode()).errors[0].code == Code.ALERT_AMBIGUOUS
    with pytest.raises(FillcastError) as caught:
        deliver(feed, secret, text.encode())
    assert caught.value.code == Code.ALERT_AMBIGUOUS
    assert "no recent quote shows which" in caught.value.detail


@pytest.mark.parametrize(("market", "is_read"), [("150", True), ("170", False), ("1500", False)])
def test_level_near_a_quote_is_a_price(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch, market: str, is_read: bool
) -> None:
    quote(monkeypatch, market)
    text = b"BUY SOLUSDT NOW SL 140"
    if is_read:
        (signal,) = deliver(feed, secret, text).signals
        assert signal.sl == D(140)
    else:
        with pytest.raises(FillcastError):
            deliver(feed, secret, text)
        assert not Signal.objects.exists()


@pytest.mark.parametrize("text", [
    "BUY EURUSD NOW SL 1.0800", "60123456789,buy,EURUSD,sl_price=1.0800",
    '{"action":"OPEN","direction":"BUY","symbol":"EURUSD","sl":"1"}',
])  # fmt: skip
def test_stop_far_from_the_quote_is_refused_in_every_dialect(
    feed: Feed, secret: str, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    quote(monkeypatch, "1.3850")
    with pytest.raises(FillcastError) as caught:
        deliver(feed, secret, text.encode())
    assert caught.value.code == Code.ALERT_AMBIGUOUS
    assert not Signal.objects.exists()


@pytest.mark.usefixtures("all_are_open")
def test_reversal_with_an_unclear_stop_closes_and_opens_nothing(feed: Feed, secret: str) -> None:
    deliver(feed, secret, b"SHORT AAPL @ 190 SL 200")
    order = {"ticker": "AAPL", "action": "buy", "sentiment": "long", "sl": 180}
    with on_behalf_of(feed.owner):
        shown = preview_alert(feed, json.dumps(order).encode())
    assert "opens nothing: 180 of AAPL/USD could mean the price 180, or a distance" in shown.effect
    (closed,) = deliver(feed, secret, json.dumps(order).encode()).signals
    assert closed.action == "CLOSE"


@pytest.mark.usefixtures("all_are_open")
@pytest.mark.parametrize(("entry", "update"), [
    ("BUY AUDJPY @ 98.20 SL 97.50", "move SL to 80"), ("BUY AUDJPY NOW", "move SL to 80"),
    ("BUY WTI @ 78.5 SL 77", "move SL to 50"), ("BUY WTI NOW", "move TP to 90"),
])  # fmt: skip
def test_new_level_that_may_be_a_distance_is_refused(
    feed: Feed, secret: str, entry: str, update: str
) -> None:
    deliver(feed, secret, entry.encode())
    with pytest.raises(FillcastError) as caught:
        deliver(feed, secret, update.encode())
    assert caught.value.code == Code.ALERT_AMBIGUOUS
    assert Signal.objects.count() == 1


def slug(heading: str) -> str:
    """Return the anchor of a heading, as the documentation's generator makes it."""
    stated = re.search(r"\{#([a-z0-9-]+)\}\s*$", heading)
    return (
        stated[1] if stated else re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
    )


def test_each_place_of_the_docs_that_is_named_to_a_sender_exists() -> None:
    named = set()
    for path in chain((ROOT / "alerts").rglob("*.py"), (ROOT / "signals").rglob("*.py")):
        named |= set(re.findall(r"docs/([a-z-]+\.md)#([a-z0-9-]+)", path.read_text()))
    assert ("alerts.md", "mapping") in named
    for page, anchor in named:
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
        assert anchor in map(slug, headings), (page, anchor)
