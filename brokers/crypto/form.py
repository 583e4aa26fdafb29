"""What an owner fills in for an account at a crypto exchange. ccxt is not imported."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pkgutil import iter_modules

from brokers.connection_form import Form, OpenChangeRule, Secret, Setting, SettingType
from brokers.crypto.exchanges import CHECKED
from brokers.crypto.settings import REPLY_TIMEOUT


def _exchange_name_error(name: str) -> str:
    """Return why ccxt does not know an exchange, else ''. It cannot be changed later."""
    is_one = name.isascii() and name.isalnum() and name == name.lower()
    if not is_one:
        return f"Write ccxt's name of it, such as {next(iter(CHECKED))}."
    known = _ccxt_exchanges()
    if not known or name in known:
        return ""
    near = get_close_matches(name, (*CHECKED, *sorted(known)), 1)
    remedy = f"Did you mean {near[0]}?" if near else "docs.ccxt.com lists those that it knows."
    return f"ccxt knows no exchange {name!r}. {remedy}"


@cache
def _ccxt_exchanges() -> frozenset[str]:
    """ccxt's exchanges by the names of its files: importing it is slow. Empty: it is missing."""
    found = find_spec("ccxt")
    folders = found.submodule_search_locations if found else None
    return (
        frozenset(one.name for one in iter_modules(folders) if not one.ispkg)
        if folders
        else frozenset()
    )


_UNIFIED = re.compile(r"[A-Za-z0-9.]+/[A-Za-z0-9]+(:[A-Za-z0-9-]+)?")

# By which a name without a slash is cut for the proposal; the longer ones first.
_QUOTES = ("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "DAI", "USD", "EUR", "GBP", "TRY", "BTC", "ETH")


def _symbols_error(names: Sequence[str]) -> str:
    """Return what to write in place of a name that is not ccxt's; '' if all may be."""
    for name in names:
        if _UNIFIED.fullmatch(name):
            continue
        pair = _suggested_symbol(name)
        write = f"Write {pair} (perpetuals: {pair}:{pair.partition('/')[2]})." if pair else ""
        return f"{name} is an exchange's own name, not ccxt's, which has a slash. {write}".strip()
    return ""


def _suggested_symbol(name: str) -> str:
    """`BTCUSDT`, `BTC-USDT`, `BTCUSDT.P` → `BTC/USDT`; '' where it cannot be cut."""
    text = re.sub(r"\.P$|[-_]?(SWAP|PERP)$", "", name.strip().upper().rpartition(":")[2])
    if cut := re.fullmatch(r"([A-Z0-9]+)[-_. ]([A-Z0-9]+)", text):
        return f"{cut[1]}/{cut[2]}"
    quote = next((one for one in _QUOTES if text.endswith(one) and len(text) > len(one) + 1), "")
    return f"{text.removesuffix(quote)}/{quote}" if quote and text.isalnum() else ""


FORM = Form(
    settings=(
        Setting(
            "market",
            "Market",
            "Perpetuals: those that are settled in the currency below (linear). One connection for"
            " each, with the same key if you like.",
            SettingType.CHOICE,
            default="spot",
            choices=(("spot", "Spot"), ("swap", "Perpetuals")),
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
            is_basic=True,
        ),
        Setting(
            "symbols",
            "Symbols",
            "What the account trades, by ccxt's names: BTC/USDT on spot, BTC/USDT:USDT on"
            " perpetuals. Nothing else is listed or traded.",
            SettingType.NAMES,
            required=True,
            check=_symbols_error,
            while_open=OpenChangeRule.LOCKED_BY_SYMBOL,
        ),
        Setting(
            "currency",
            "Currency",
            "What spot is quoted in and perpetuals are settled in.",
            default="USDT",
            while_open=OpenChangeRule.LOCKED,
        ),
        Setting(
            "sandbox",
            "Sandbox",
            "The exchange's own test system instead of real money. Its keys are made there: Binance"
            " at demo.binance.com, Bybit at testnet.bybit.com, OKX under demo trading. Kraken has"
            " none.",
            SettingType.SWITCH,
            default=False,
            while_open=OpenChangeRule.IDENTIFIES_ACCOUNT,
            is_basic=True,
            is_destination=True,
        ),
        Setting(
            "margin_mode",
            "Margin mode",
            "Perpetuals only. What is chosen here is set at the exchange, and an entry is refused"
            " where it is otherwise. Empty: as the exchange has it; at OKX, where each order names"
            " one, cross.",
            SettingType.CHOICE,
            choices=(("cross", "Cross"), ("isolated", "Isolated")),
            while_open=OpenChangeRule.LOCKED,
        ),
        Setting(
            "leverage",
            "Leverage",
            "Perpetuals only. A number is set at the exchange for these symbols, and an entry is"
            " refused where it is otherwise. Empty: as the exchange has it.",
            SettingType.WHOLE,
            minimum=1,
            maximum=125,
        ),
        Setting(
            "points_per_second",
            "Requests a second",
            "Kraken only: what your account's tier frees each second: 0.33, 0.5 or 1.",
            SettingType.NUMBER,
            default=0.33,
            minimum=0.1,
            maximum=10,
        ),
        Setting(
            "reply_timeout",
            "Wait for an answer … seconds",
            "After that an order counts as unknown and is looked up: from 0.5 to 60 seconds.",
            SettingType.NUMBER,
            default=REPLY_TIMEOUT,
            minimum=0.5,
            maximum=60,
        ),
    ),
    secrets=(
        Secret("api_key", "API key", "It may read and trade, never withdraw."),
        Secret("secret", "Secret"),
        Secret("password", "Passphrase", "OKX only: the one that was chosen with the key.", False),
    ),
    label="Crypto exchange",
    account="A name of yours for this key's account: main, or a sub-account's name.",
    is_own_name=True,
    exchange=Setting(
        "exchange_name",
        "Exchange",
        f"By ccxt's name. Checked: {', '.join(CHECKED)}.",
        required=True,
        check=_exchange_name_error,
    ),
)
