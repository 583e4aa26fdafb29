"""Alerts as people send them: golden texts, noise, numbers and mappings. Nothing is looked up."""

import json
import re
import time
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.grammar.numbers import read_number
from alerts.reading import AlertMapping, read_alert, read_mapping, without_secrets
from common.errors import InvalidInputError
from common.reason_codes import Code
from tests.alerts.alert_rendering import rendered

GOLDEN = Path(__file__).parent / "alerts_golden"
FILES: dict[str, list[tuple[str, str]]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))
}
TEXTS = [(text, expected) for texts in FILES.values() for text, expected in texts]


@pytest.mark.parametrize("file", FILES)
def test_golden_texts_do_what_their_senders_mean(file: str) -> None:
    """All of a file in one test: 2,000 tests would take longer to collect than to run."""
    wrong = []
    for text, expected in FILES[file]:
        shown = rendered(text)
        is_right = shown.startswith("refuse") if expected == "refuse" else shown == expected
        if not is_right:
            wrong.append((text, expected, shown))
    assert wrong == []


def test_there_are_many_golden_texts_and_each_is_there_once() -> None:
    assert len(TEXTS) >= 150
    assert len({text for text, _ in TEXTS}) == len(TEXTS)


@pytest.mark.parametrize(("text", "readings"), [
    ("close 0.5%", ["0.5% of the trade", "50 % of the trade", "gain or loss"]),
    ("close 30", ["30 % of the trade", "30 lots", "price 30"]),
    ("close 50 pips", ["a close now", "a target 50 pips away"]),
    ("take half at TP1", ["now, since the price is there", "later"]),
    ("reduce EURUSD 30%", ["a close of 30%", "a close of 70 %"]),
    ("BUY EURUSD 1.0850-1.0950 SL 1.0800", ["one entry at 1.095", "several entries"]),
    ("hedge EURUSD", ["a trade on the other side", "a close of the open one"]),
    ("add BUY EURUSD @ 1.0820", ["a second trade", "more of the open one"]),
    ("BUY SOLUSDT NOW SL $20", ["the price 20", "an amount of money"]),
    ("BUY EURUSD @ 1.0850 SL 1.0800 TP1 50%", ["percent of the price", "a share of the trade"]),
    ("sell BTCUSDT position", ["an entry", "a close of the one that is open"]),
    ("SELL BTCUSDT NOW size 50%", ["an entry", "a close of that share"]),
    ("BUY EURUSD LIMIT 1.0900 STOP 1.0800", ["a limit order", "an entry at market"]),
    ("EURUSD BUY STOP: 1.0800 TARGET: 1.0900", ["a stop order", "an entry with the stop loss"]),
    ("BUY EURUSD SL 1.0800 R:R 1:2", ["a description", "a target"]),
    ("XAUUSD BUY ZONE 2340-2345", ["an entry", "a description of the chart"]),
    ("EURUSD SL 1.0830 TP 1.0990", ["new levels of the open trade", "an entry"]),
    ("EURUSD move SL to 20", ["the price 20", "a distance of 20"]),
    ('{"direction": "SELL", "symbol": "EURUSD", "sl": 20}', ["the price 20", "a distance"]),
    ('{"action": "enter_long", "ticker": "BTCUSDT", "sentiment": "flat"}',
     ["an entry", "an order that ends or turns a trade"]),
])  # fmt: skip
def test_text_with_several_meanings_is_refused_with_each(text: str, readings: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_alert(text.encode())
    assert caught.value.code == Code.ALERT_AMBIGUOUS
    assert ", or " in caught.value.detail
    for reading in readings:
        assert reading in caught.value.detail


def seconds_to_read(text: str) -> float:
    """Return the processor time that a text takes now."""
    start = time.process_time()
    rendered(text)
    return time.process_time() - start


@pytest.mark.parametrize(("before", "mark", "after"), [
    ("", "|", "a"), ("", ";", "a"), ("", ".", "a"), ("", "!", "a"), ("", "=", ""), ("", "-=", ""),
    ("a ", "\u2066", " b"), ("a ", "\u202b", "b"), ("a", "\u200e", "a"), ("", "_", ""),
    ("BUY EURUSD ", " \t", "x"),
])  # fmt: skip
def test_time_to_read_a_run_of_marks_grows_with_its_length(
    before: str, mark: str, after: str
) -> None:
    short, long = (before + mark * (count // len(mark)) + after for count in (970, 3_880))
    least = min(seconds_to_read(short) for _ in range(7))
    for _ in range(100):  # a machine that is busy with other things slows some of them
        if seconds_to_read(long) < 9 * least:  # it takes 4 times as long; 16 times if squared
            return
        least = min(least, seconds_to_read(short))
    pytest.fail(f"{len(long)} letters never took less than 9 times as long as {len(short)}")


def test_range_of_a_market_entry_is_no_limit_in_its_notes() -> None:
    notes = read_alert(b"XAUUSD BUY NOW 2650-2647 SL 2640").notes
    assert [note.reason for note in notes] == [
        "its price is 2650, the edge that is reached first",
        "the price is compared with the market, not ordered",
    ]


LEAVE_OUT = "Leave it out"


@pytest.mark.parametrize(("text", "advice"), [
    ("Don't buy gold here 2650", "'Don't' can deny"),
    ("EURUSD BUY 1.0850 SL 1.0800 (not a signal)", "'not' can deny"),
    ("Gold buy zone 2640-2645, wait", "'wait' can deny"),
    ("Our BUY GOLD 2640 TP 2650 hit", "'hit' can deny"),
    ("Bought EURUSD 1.0850 SL 1.0800", "'Bought' can deny"),
    ("GOLD SELLL 2650 SL 2660", "Did you mean SELL?"),
    ("GOLD SELL 2650 Stoplos 2660", "Did you mean STOPLOSS?"),
    ("Enrty 2650 GOLD BUY SL 2640", "Did you mean ENTRY?"),
    ("GOLD SELL 2650 stopped SL 2660", "can change what the signal says"),
    ("BTC long 63250 SL 61000", "Write the pair, like BTC/USDT."),
    ("sell aapl @ 195 sl 200", "Write AAPL/USD."),
    ("BUY EUR now SL 1.08", "Write the pair, like EUR/USD."),
    ("BUY ALL @ 20.5 SL 19.5", "Write the pair"),
    ("buy kospi now sl 300", "Write the pair"),
    ("EURUSD BUY 1.0850 SL 1.0800 TP1 1.0900 (close 50%) TP2 1.0950", "write shares of targets"),
    ("BUY EURUSD @ 1.0850 SL 1.0800, move SL to BE at TP1", "Send each as a message of its own"),
    ("LONG BTCUSDT Entry: 64000 TP 66000 close half at TP1", "Send each as a message of its own"),
    ("SELL GOLD 2650 SL 2660 TP 2640 hold till TP", "Send each as a message of its own"),
    ("BELI EMAS sekarang 2650", "set it among the words of the feed's mapping"),
    ("Jual emas 2650", "set it among the words of the feed's mapping"),
    ("kaufen wir jetzt", "set it among the words of the feed's mapping"),
    ("BTCUSDT LONG 63k SL 61000", "Write 63000."),
    ("BTCUSDT LONG @ 63.25k SL 61000", "Write 63250."),
    ("BTCUSDT LONG 63000 SL 61.5K TP 66000", "Write 61500."),
    ("BTCUSDT LONG NOW SL 61000 TP 66k", "Write 66000."),
    ("Signal #128 close half", "Answer the signal's message"),
    ("trade 128: SL to BE", "Answer the signal's message"),
    ("GOLD BUY 2650 SL 2640 TP 2655,2660,2665", "after each comma: “2655, 2660, 2665”"),
    ("EURUSD BUY 1.0850 SL 1.0800 TP 1.0900,1.0950", "after each comma: “1.0900, 1.0950”"),
    ("SOLUSDT LONG @ 150 SL 145 TP 155.5,160.25,170", "after each comma"),
    ("BUY EURUSD @ 1.0840,1.0850 SL 1.0800", "after each comma"),
    ("Signal 12: XAUUSD BUY 2650", "Write “Signal #12”."),
    ("VIP Signal 12\nXAUUSD BUY 2650\nSL 2640", "Write “Signal #12”."),
    ("XAUUSD BUY 2650 SL 2640 TP.2660", "Write “TP 2660”."),
    ("BTCUSDT LONG 64000\nSL 63000\nT1: 66000", "Write “TP1: …” for a target."),
    ("Cut BTCUSDT long", "“close half EURUSD”"),
    ("XAUUSD BUY 2650 SL 2640 or SELL 2660 SL 2670", "can change what the signal says"),
    ("XAUUSD BUY 2650 SL 2640 AGAIN", "can change what the signal says"),
    ("BUY AAPL 190 CALL 3.20 SL 2.50", "options are not traded"),
    ("BUY SPY 600 PUT @ 2.10 SL 1.50 TP 3.50", "options are not traded"),
    ("BUY NIFTY 24500 CE @ 120 SL 90", "options are not traded"),
    ("SPX 5950P @ 3.20 SL 2.00", "options are not traded"),
    ("US30 BUY 44150 SL 100 pts", "or whole points of an index"),
    ("#EURUSD SELL 1.09 SL 1.093\nProfit: 1.084", "Did you mean TAKE PROFIT?"),
    ("EURUSD BUY 1.0850 SL1 1.0820 SL2 1.0800", "Write one “SL 1.0800”"),
    ("GOLD SELL 2650 SL 2656 1st target 2645", "Number targets as “TP1"),
    ("XAUUSD BUY 2650 SL 2640 Ticket 2660", "in a line of its own"),
    ("BUY EURUSD @ 1.0850 [SL 1.0820]", "Leave the brackets out"),
    ("LONG BTCUSDT entry 65 000 sl 64 000", "Write 65000 if it is one number"),
    ("LONG XRPUSDT entry .5120 sl .5050", "Write 0.5120,"),
    ("XRPUSDT SHORT .485", "Write 0.485,"),
    ("XRPUSDT move SL to .45", "Write 0.45,"),
    ("XAUUSD SELL 2655 SL 2663 TP 2650 2645 OPEN", "with a comma before it"),
    ("XAUUSD SELL 2655 SL 80 pips TP 50/100 pips", "directly behind its stop or target"),
    ("BNBUSDT SHORT 612 TP 600 SL 618 (1%)", "no percent beside it"),
    ("buy BTCUSDT @ {{close}}", "'{{close}}' is a placeholder that was not filled in"),
    ("{{ticker}} buy", "'{{ticker}}' is a placeholder that was not filled in"),
    ("Edit: SL 2642", "Write “move SL to 1.0830”"),
    ("SL moved to entry", "It can report what was done"),
    ("close remaining 50%", "what each account still has"),
    ("move TP2 to 2680", "Send JSON with action MODIFY and all targets"),
    ("SL to TP1", "Write the price itself"),
])  # fmt: skip
def test_refusal_of_a_word_says_what_to_write_and_not_to_leave_it_out(
    text: str, advice: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_alert(text.encode())
    assert advice in caught.value.detail.replace('"', "'")
    assert LEAVE_OUT not in caught.value.detail


@pytest.mark.parametrize(("text", "shown"), [
    ("14:30 GBPUSD sell 1.2750 sl 1.2790", "14:30 is no price"),
    ("GBPUSD sell 1.2750 sl 1.2790 14:30 GMT", "14:30 is no price"),
    ("GBPUSD sell 1.2750 sl 1.2790\n2026-11-28 14:32:05", "2026-11-28 is no price"),
    ("GBPUSD sell 27.11.2026 1.2750 sl 1.2790", "27.11.2026 is no price"),
    ("27/11/2026 GBPUSD sell 1.2750 sl 1.2790", "27/11/2026 is no price"),
])  # fmt: skip
def test_time_or_date_is_named_as_one(text: str, shown: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_alert(text.encode())
    assert shown in caught.value.detail
    assert "2026-11-28T14:30:00Z" in caught.value.detail


def test_word_without_a_meaning_can_be_left_out() -> None:
    with pytest.raises(InvalidInputError, match=LEAVE_OUT):
        read_alert(b"GOLD BUY 2650 SL 2640 lovely")


@pytest.mark.parametrize(("text", "hidden"), [
    ('{"secret": "s3cret", "action": "exit"}', '{"secret": "hidden", "action": "exit"}'),
    ('{"email_token":"a\\"b","bot_id":1}', '{"email_token":"hidden","bot_id":1}'),
    ("60123456789,buy,EURUSD,sl_pips=20", "hidden,buy,EURUSD,sl_pips=20"),
    ("buy,EURUSD,secret=s3cret,sl_pips=20", "buy,EURUSD,secret=hidden,sl_pips=20"),
    ("BUY EURUSD @ 1.0850 SL 1.0800", "BUY EURUSD @ 1.0850 SL 1.0800"),
    ("token: abc123 BUY EURUSD", "token: hidden BUY EURUSD"),
    ("BUY EURUSD NOW\nApi key : 'a b'\nTP 1.09", "BUY EURUSD NOW\nApi key : hidden\nTP 1.09"),
    ("Authorization: Bearer ab.cd\nBUY EURUSD", "Authorization: hidden\nBUY EURUSD"),
    ("Password:\nBUY EURUSD", "Password:\nBUY EURUSD"),
    ("Token: SOL/USDT\nLONG", "Token: SOL/USDT\nLONG"),
    ("Token: **SOL/USDT**\nLONG", "Token: **SOL/USDT**\nLONG"),
    ("**Token:** SOL/USDT\nLONG", "**Token:** SOL/USDT\nLONG"),
    ("**Token**: _#SOL_\nLONG", "**Token**: _#SOL_\nLONG"),
    ("**Token:** abc123 LONG", "**Token:** hidden LONG"),
    ("Token: `abc123` LONG", "Token: `hidden LONG"),
    ("__secret__=**abc123**", "__secret__=**hidden"),
    ("Token: #1000PEPE\nLONG", "Token: #1000PEPE\nLONG"),
    (r'{"text": "BUY EURUSD, token=abc\nSL 1"}', r'{"text": "BUY EURUSD, token=hidden\nSL 1"}'),
    ("token=abc&symbol=EURUSD&side=buy&sl=1.08", "token=hidden&symbol=EURUSD&side=buy&sl=1.08"),
    ("BUY EURUSD token:x|SL 1.08|TP 1.09", "BUY EURUSD token:hidden|SL 1.08|TP 1.09"),
    (r'{"text": "BUY EURUSD token:x|SL 1.08"}', r'{"text": "BUY EURUSD token:hidden|SL 1.08"}'),
    (r'{"text": "BUY password: \"a b\""}', r'{"text": "BUY password: hidden"}'),
    ('{"text": "BUY EURUSD password: abc"}', '{"text": "BUY EURUSD password: hidden"}'),
    ('{"text": "Token: SOL/USDT\\nLONG"}', '{"text": "Token: SOL/USDT\\nLONG"}'),
])  # fmt: skip
def test_secret_of_another_service_is_hidden(text: str, hidden: str) -> None:
    assert without_secrets(text.encode()).decode() == hidden


@pytest.mark.parametrize("file", FILES)
def test_hidden_secret_changes_no_reading(file: str) -> None:
    hidden = [(text, without_secrets(text.encode()).decode()) for text, _ in FILES[file]]
    assert [text for text, rest in hidden if rendered(rest) != rendered(text)] == []


def test_field_that_the_mapping_reads_is_no_secret() -> None:
    text = b'{"code": "B1", "secret": "s"}'
    assert without_secrets(text, ["code"]) == b'{"code": "B1", "secret": "hidden"}'


READ = [(text, expected) for text, expected in TEXTS if not expected.startswith("refuse")]
WORDS = [
    "not", "don't", "never", "no", "maybe", "if", "yesterday", "bought", "closed", "wait", "?", "“",
    "<b>", "> ", "👍", "🔥", "\n", " ", "!", "\u200b", "\u202e", "\u2066", "\ufeff", "е", "Ｕ",
    "٣", "❌", "🚫", "hit", "GBPUSD", "SELL", "BUY", "1.5", "(", "]", "&lt;", "\x00",
]  # fmt: skip


@given(st.sampled_from(READ), st.sampled_from(WORDS), st.integers(0, 400))
def test_noise_between_words_never_changes_a_trade_silently(
    golden: tuple[str, str], noise: str, place: int
) -> None:
    text, expected = golden
    if text.startswith("{"):
        return  # a JSON object has strings, in which anything may be written
    if _adds(noise, expected):
        return
    gaps = [0, *(i for i, letter in enumerate(text) if letter in " \n"), len(text)]
    at = gaps[place % len(gaps)]
    _same_or_refused(f"{text[:at]} {noise} {text[at:]}", expected)


def _adds(noise: str, expected: str) -> bool:
    """Whether a word is no noise here, but says what the text leaves open: “close SELL EURUSD”."""
    if noise in ("BUY", "SELL"):
        return expected.startswith(("update", "close"))
    if noise == "GBPUSD":
        return " ? " in expected or "ALL" in expected
    return noise == "1.5" and " MARKET" in expected


SINGLE = [" ", "\n", "\u200b", "\u200d", "\u202e", "\ufe0f", "🔥", "е", "т", "'", "?", "*", "!"]


@given(st.sampled_from(READ), st.sampled_from(SINGLE), st.integers(0, 400))
def test_a_character_anywhere_never_changes_a_trade_silently(
    golden: tuple[str, str], noise: str, place: int
) -> None:
    text, expected = golden
    if text.startswith("{"):
        return
    at = place % (len(text) + 1)
    _same_or_refused(text[:at] + noise + text[at:], expected)


def _same_or_refused(text: str, expected: str) -> None:
    shown = rendered(text)
    is_same = sorted(shown.split()) == sorted(expected.split())
    assert is_same or shown.startswith("refuse"), text


OPENED = [
    (text, expected)
    for text, expected in READ
    if expected.startswith("open") and not re.match(r"[0-9]{8}|e=|[A-Za-z]+\(|\{|.*,.*=", text)
]
TURNED = [
    "not", "don't", "no", "never", "avoid", "ignore", "if", "unless", "maybe", "wait", "watch",
    "yesterday", "was", "closed", "cancelled", "invalid", "expired", "test", "example", "paper",
    "possible", "potential", "?", "\"", "“", "✋", "🤔", "⏳", "👎", "🅽🅾", "≥", "<", "~~", "nicht",
    "kein", "nunca", "pas", "не", "不", "لا", "result", "hit", "once", "above",
]  # fmt: skip


@given(st.sampled_from(OPENED), st.sampled_from(TURNED), st.integers(0, 400))
def test_word_that_turns_a_signal_round_never_leaves_an_entry(
    golden: tuple[str, str], word: str, place: int
) -> None:
    text, _ = golden
    gaps = [0, *(i for i, letter in enumerate(text) if letter in " \n"), len(text)]
    at = gaps[place % len(gaps)]
    for denied in (f"{text[:at]} {word} {text[at:]}", f"{text[:at]}\n{word}\n{text[at:]}"):
        assert rendered(denied).startswith("refuse"), denied


@given(
    st.sampled_from(OPENED), st.sampled_from([".", ":", "/", "-", "_", ";"]), st.integers(0, 400)
)
def test_mark_in_place_of_a_gap_never_changes_a_trade_silently(
    golden: tuple[str, str], mark: str, place: int
) -> None:
    text, expected = golden
    gaps = [i for i, letter in enumerate(text) if letter in " \n"]
    if gaps and "filled on" not in text:
        at = gaps[place % len(gaps)]
        _same_or_refused(text[:at] + mark + text[at + 1 :], expected)


LABELLED = [
    "Entry: {entry}", "SL: {sl}", "TP1: {one}\nTP2: {two}", "Leverage: 10x", "Market: Forex",
    "Type: scalp", "Use proper risk management", "https://t.me/pips",
]  # fmt: skip


@given(st.permutations(["BUY EURUSD", *LABELLED]))
def test_order_of_labelled_lines_changes_nothing(lines: list[str]) -> None:
    text = "\n".join(lines).format(entry="1.0850", sl="1.0800", one="1.0900", two="1.0950")
    assert rendered(text) == "open BUY EUR/USD LIMIT 1.085 sl=1.08 tp=1.09@0.5,1.095@0.5"


SEVERAL_LINES = [one for one in OPENED if "\n" in one[0]]


@given(st.sampled_from(SEVERAL_LINES), st.randoms(use_true_random=False))
def test_order_of_lines_never_changes_a_trade_silently(golden: tuple[str, str], dice: Any) -> None:
    text, expected = golden
    lines = text.split("\n")
    if any(re.fullmatch(r"[^A-Za-z]*[0-9][^A-Za-z]*", line) for line in lines):
        return  # the number belongs to the line before it
    dice.shuffle(lines)
    _same_or_refused("\n".join(lines), expected)


DIGITS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from("0123456789")), min_size=1)


@given(st.sampled_from(OPENED), DIGITS)
def test_other_digits_never_make_another_symbol_or_side(
    golden: tuple[str, str], changes: list[tuple[int, str]]
) -> None:
    text, expected = golden
    side, pair = expected.split()[1:3]
    if re.search("[0-9]", pair) or "!" in text:
        return
    letters = list(text)
    places = [i for i, letter in enumerate(letters) if letter.isascii() and letter.isdigit()]
    for place, digit in changes if places else ():
        letters[places[place % len(places)]] = digit
    shown = rendered("".join(letters))
    assert shown.startswith("refuse") or shown.split()[1:3] == [side, pair], letters


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_what_to_write(text: str) -> None:
    rendered(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.0850", "1.085"), ("64,200.50", "64200.5"), ("1,0850", "1.085"), ("0,6650", "0.665"),
     ("64,200,000", "64200000")],
)  # fmt: skip
def test_number_with_one_meaning_is_read(text: str, number: str) -> None:
    assert read_number(text) == D(number)


@pytest.mark.parametrize("text", ["1,085", "64,200", "95,90", "150,25", "64000,65000"])
def test_number_with_two_meanings_is_refused_with_both(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_number(text)
    assert caught.value.code == Code.ALERT_AMBIGUOUS
    assert ", or " in caught.value.detail


@pytest.mark.parametrize("text", ["01", "1.", ".5", "1.2.3", "1,23,4", "1e5", "", "1.234,5"])
def test_malformed_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        read_number(text)


MAPPING = {
    "paths": {
        "symbol": "order.pair",
        "side": "signal",
        "price": "order.legs.0.price",
        "sl": "stop",
    },
    "symbols": {"GOLD": "XAU/USD"},
    "sides": {"compra": "BUY", "cerrar": "CLOSE"},
    "ignore": ["Join our channel"],
}


def test_mapping_reads_a_json_by_its_paths() -> None:
    mapping = read_mapping(MAPPING)
    alert = {"signal": "Compra", "order": {"pair": "gold", "legs": [{"price": "2350"}]},
             "stop": "2340", "user": "x"}  # fmt: skip
    shown = rendered(json.dumps(alert), mapping)
    assert shown == "open BUY XAU/USD MARKET 2350 sl=2340"
    notes = read_alert(json.dumps(alert).encode(), mapping).notes
    assert [note.text for note in notes] == ["user"]


def test_mapping_closes_by_its_word_and_refuses_an_unknown_one() -> None:
    mapping = read_mapping(MAPPING)
    close = {"signal": "CERRAR", "order": {"pair": "GOLD"}}
    assert rendered(json.dumps(close), mapping) == "close XAU/USD"
    assert rendered(json.dumps({**close, "signal": "vende"}), mapping) == "refuse FIELD_INVALID"


def test_mapping_reads_words_of_texts() -> None:
    mapping = read_mapping(MAPPING)
    assert rendered("COMPRA GOLD @ 2350 SL 2340\nJoin our channel!", mapping) == (
        "open BUY XAU/USD LIMIT 2350 sl=2340"
    )
    at_market = read_mapping({"entry_price": "MARKET"})
    assert rendered("BUY EURUSD @ 1.0850", at_market) == "open BUY EUR/USD MARKET 1.085"


@pytest.mark.parametrize("text", [
    "COMPRA EURUSD 1,0850\nStop 1,0800\nObjetivo 1,0900",
    "COMPRA EURUSD\nEntrada: 1.0850\nStop Loss: 1.0800\nAlvo: 1.0900",
    "COMPRA EURUSD 1,0850 Stop 1,0800 Ziel 1,0900",
])  # fmt: skip
def test_words_of_levels_in_other_languages_are_read_beside_a_mapped_side(text: str) -> None:
    mapping = read_mapping(MAPPING)
    assert rendered(text, mapping) == "open BUY EUR/USD LIMIT 1.085 sl=1.08 tp=1.09@1"
    for denied in (f"no {text}", f"{text} alcanzado", f"{text} ahora no"):
        assert rendered(denied, mapping).startswith("refuse")


def test_mapping_decides_what_a_distance_is() -> None:
    text = "60123456789,sell,GBPJPY,sl=50"
    assert rendered(text, AlertMapping(distances="PIPS")) == "open SELL GBP/JPY MARKET sl_by=50PIPS"
    assert rendered(text) == "refuse ALERT_AMBIGUOUS"


@pytest.mark.parametrize(
    "phrase",
    ["don't trade this", "Don’t copy", "avoid this pair", "no longer valid", "if it breaks",
     "was our trade", "yesterday's trade", "closed at market", "our result", "paper trading",
     "an example", "waiting for price", "watch this pair", "possible trade", "potential setup",
     "looking to trade", "is it good?", "“our trade”", "ignore this", "not valid", "once it holds",
     "above the zone", "copied from", "kein Signal", "nunca operar", "не сигнал", "不要跟",
     "👎 this one", "this one ↘", "⏳ this one"],
)  # fmt: skip
def test_phrase_that_can_turn_a_signal_round_is_never_ignored(phrase: str) -> None:
    with pytest.raises(InvalidInputError):
        read_mapping({"ignore": [phrase]})


@pytest.mark.parametrize(
    "phrase",
    ["Join our channel", "Premium signals by Pip Lords", "Trade at your own risk", "London session",
     "Good morning traders", "Присоединяйтесь к каналу", "Powered by Notary Capital"],
)  # fmt: skip
def test_phrase_of_a_sender_may_be_ignored(phrase: str) -> None:
    assert read_mapping({"ignore": [phrase]}).ignore == (phrase,)


@pytest.mark.parametrize("word", ["no comprar", "not_buy", "maybe", "cancel", "kein kauf"])
def test_word_for_a_side_neither_denies_nor_doubts(word: str) -> None:
    with pytest.raises(InvalidInputError):
        read_mapping({"sides": {word: "BUY"}})


OTHER_LANGUAGES = [("Купить", "BUY"), ("Продать", "SELL"), ("买入", "BUY"), ("شراء", "BUY"),
                   ("Kaufen", "BUY"), ("Verkaufen", "SELL"), ("Compra", "BUY"),
                   ("Vente", "SELL")]  # fmt: skip


@pytest.mark.parametrize(("word", "side"), OTHER_LANGUAGES)
def test_word_of_another_language_is_read_by_the_mapping_only(word: str, side: str) -> None:
    text = f"{word} EURUSD NOW"
    with pytest.raises(InvalidInputError) as caught:
        read_alert(text.encode())
    assert "mapping" in caught.value.detail
    mapping = read_mapping({"sides": {word: side}})
    assert rendered(text, mapping) == f"open {side} EUR/USD MARKET"
    for denied in (f"не {text}", f"no {text}", f"不{text}", f"{text} не"):
        assert rendered(denied, mapping).startswith("refuse")


@pytest.mark.parametrize(
    "data",
    [[], {"paths": {"symbol": "a"}}, {"paths": {"symbol": "a..b", "side": "c"}}, {"other": 1},
     {"symbols": {"GOLD": "no symbol!"}}, {"sides": {"x": "MAYBE"}}, {"sides": {"buy": "SELL"}},
     {"ignore": ["do not"]}, {"ignore": ["never mind this"]}, {"ignore": ["SL"]},
     {"ignore": ["1.0850 level"]}, {"entry_price": "STOP"}, {"symbols": {"G" * 61: "XAU/USD"}},
     {"sides": {"x": 1}}],
)  # fmt: skip
def test_faulty_mapping_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_mapping(data)
    assert caught.value.code in (Code.FIELD_INVALID, Code.SYMBOL_UNKNOWN)
