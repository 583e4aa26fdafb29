"""What an exchange's refusal means, by its own code.

Whatever stands in no table may be live: OutcomeUnknown. The class that ccxt gives a refusal is no
word of the exchange's: ccxt calls "Order creation timeout" an InvalidOrder (bybit 170146, coinsph
-1146), and an order that is there already, too (bybit 110030). Of an exchange that was not checked
there is no table, and a few of ccxt's classes are all there is (`UNCHECKED_CLASSES`).

Source: the comments beside each code in `describe()['exceptions']` of ccxt 4.5.90, read 2026-11-20.
What ccxt does not have is marked `remembered`: it is of the exchanges' references, but was not read
there again; none of those is NOT_SENT, so nothing is sent again because of one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from brokers.crypto.exchanges import Envelope
from common.reason_codes import Code


class Meaning(StrEnum):
    """What a refusal proves."""

    REJECTED = "REJECTED"  # final
    NOT_SENT = "NOT_SENT"  # the exchange states that it accepted nothing; may be tried again
    DUPLICATE = "DUPLICATE"  # it has an order with this id: look it up
    MISSING = "MISSING"  # it has no such order
    UNCHANGED = "UNCHANGED"  # the order is already as a change would make it
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means, and our code for it."""

    means: Meaning
    code: Code


UNKNOWN = Verdict(Meaning.UNKNOWN, Code.REPLY_LOST)
DUPLICATE = Verdict(Meaning.DUPLICATE, Code.REPLY_LOST)
MISSING = Verdict(Meaning.MISSING, Code.ORDER_MISSING)
UNCHANGED = Verdict(Meaning.UNCHANGED, Code.REPLY_LOST)
_BUSY = Verdict(Meaning.NOT_SENT, Code.RATE_LIMITED)
_CLOCK = Verdict(Meaning.NOT_SENT, Code.BROKER_CLOCK)


def _rejected(code: Code) -> Verdict:
    return Verdict(Meaning.REJECTED, code)


_MONEY, _VOLUME, _PRICE = (
    _rejected(Code.NO_MONEY),
    _rejected(Code.VOLUME_INVALID),
    _rejected(Code.PRICE_INVALID),
)
_KEY, _DISABLED = _rejected(Code.CREDENTIALS_REFUSED), _rejected(Code.TRADING_DISABLED)
_NO_SYMBOL = _rejected(Code.SYMBOL_TRADING_DISABLED)  # of this pair; the account itself is well
_SYMBOL, _MARKET = _rejected(Code.UNKNOWN_SYMBOL_AT_BROKER), _rejected(Code.MARKET_CLOSED)
_FLAT, _FILLED_NOT = _rejected(Code.NO_POSITION), _rejected(Code.NO_PRICE_WITHIN_LIMIT)
_OTHER = _rejected(Code.REJECTED_BY_BROKER)

# What is remembered of a market (its step, tick, limits, state) may have caused these.
OF_MARKET = frozenset({
    Code.VOLUME_INVALID, Code.PRICE_INVALID, Code.MARKET_CLOSED, Code.UNKNOWN_SYMBOL_AT_BROKER,
    Code.SYMBOL_TRADING_DISABLED,
})  # fmt: skip

# Spot "Error codes" and "Filters"; USDS-M futures "Error codes".
_BINANCE: Mapping[str, Verdict] = {
    "-1003": _BUSY, "-1015": _BUSY,  # too many requests, too many orders
    "-1021": _CLOCK,  # outside of recvWindow
    "-1002": _KEY, "-1022": _KEY, "-2014": _KEY, "-2015": _KEY,
    "-1013": _VOLUME, "-1111": _VOLUME, "-4003": _VOLUME, "-4004": _VOLUME, "-4005": _VOLUME,
    "-4023": _VOLUME, "-4164": _VOLUME,  # step, minimum notional
    "-4001": _PRICE, "-4002": _PRICE, "-4014": _PRICE, "-4016": _PRICE, "-4024": _PRICE,
    "-4131": _PRICE,
    "-1121": _SYMBOL,
    "-2010": _OTHER,  # new order rejected; its message has the reason
    "-2018": _MONEY, "-2019": _MONEY, "-2027": _MONEY, "-2028": _MONEY,
    "-2022": _FLAT, "-2024": _FLAT,  # reduce-only rejected; the position is not sufficient
    "-2025": _OTHER,  # too many open orders
    "-2020": _FILLED_NOT, "-5021": _FILLED_NOT,  # fill-or-kill
    "-5022": _OTHER,  # post-only would match
    "-1100": _OTHER, "-1101": _OTHER, "-1102": _OTHER, "-1104": _OTHER, "-1106": _OTHER,
    "-1116": _OTHER, "-1117": _OTHER, "-1115": _OTHER, "-4015": _OTHER,
    "-4061": _OTHER,  # the position side does not fit the account's position mode
    "-4140": _MARKET, "-4141": _MARKET,  # the symbol is not trading
    "-2021": _PRICE,  # futures: the market has reached the trigger price
    "-4045": _OTHER,  # too many stop orders
    "-4400": _DISABLED, "-4401": _DISABLED, "-4402": _DISABLED,
    "-1005": _KEY, "-2017": _KEY,  # the address is not among the key's; keys locked
    "-4090": _DISABLED, "-4192": _DISABLED,  # cannot order now; cooling off
    "-4408": _NO_SYMBOL,  # the symbol is in reduce-only mode
    "-4183": _PRICE, "-4184": _PRICE, "-1014": _OTHER, "-4118": _FLAT,
    "-4116": DUPLICATE,
    "-2011": MISSING, "-2013": MISSING,
    "-5027": UNCHANGED,  # "No need to modify the order."
    # an order list whose types or sides do not fit; docs spot "Error codes"
    "-1158": _OTHER, "-1165": _OTHER, "-1166": _OTHER, "-1168": _OTHER,
    "-1196": _OTHER, "-1197": _OTHER, "-1198": _OTHER, "-1199": _OTHER,
    "-5025": _OTHER, "-5026": _OTHER,  # only limit orders are changed, and not without end
}  # fmt: skip

# v5 "Error Codes".
_BYBIT: Mapping[str, Verdict] = {
    "10006": _BUSY, "10018": _BUSY, "10429": _BUSY, "170222": _BUSY,
    "10002": _CLOCK, "170213": MISSING,
    "10003": _KEY, "10004": _KEY, "10005": _KEY, "10007": _KEY, "10009": _KEY, "10010": _KEY,
    "33004": _KEY,
    "10024": _DISABLED, "10008": _DISABLED, "10029": _SYMBOL, "110066": _MARKET,
    "10001": _OTHER, "110009": _OTHER,
    "110092": _PRICE, "110093": _PRICE,  # the market has reached the trigger price
    "110003": _PRICE, "170132": _PRICE, "170133": _PRICE, "170134": _PRICE, "170193": _PRICE,
    "170194": _PRICE, "110094": _VOLUME, "170136": _VOLUME, "170137": _VOLUME, "170140": _VOLUME,
    "170124": _VOLUME, "170135": _VOLUME, "110020": _OTHER, "110022": _OTHER,
    "110004": _MONEY, "110006": _MONEY, "110007": _MONEY, "110012": _MONEY, "110014": _MONEY,
    "110044": _MONEY, "110045": _MONEY, "110052": _MONEY, "170131": _MONEY, "170033": _MONEY,
    "110017": _FLAT, "110034": _FLAT, "110018": _KEY, "170121": _SYMBOL,
    "170105": _OTHER, "170201": _DISABLED, "170202": _OTHER,
    "10027": _DISABLED, "10028": _DISABLED, "110023": _NO_SYMBOL, "110042": _NO_SYMBOL,
    "110067": _DISABLED, "110068": _DISABLED, "110069": _DISABLED, "170209": _NO_SYMBOL,
    "170223": _DISABLED, "170224": _NO_SYMBOL, "170226": _DISABLED,
    "110016": _OTHER, "110021": _OTHER, "110032": _OTHER, "110040": _OTHER, "170115": _OTHER,
    "170116": _OTHER, "170117": _OTHER, "170210": _OTHER, "170217": _OTHER,
    "110070": _SYMBOL, "170151": _MARKET, "170157": _SYMBOL, "170159": _MARKET,
    "110051": _MONEY, "110053": _MONEY,
    "170192": _PRICE, "170195": _PRICE, "170196": _PRICE, "170218": _PRICE,
    "170148": _VOLUME, "170197": _VOLUME, "170198": _VOLUME, "170199": _VOLUME, "170200": _VOLUME,
    "170228": _VOLUME, "170229": _VOLUME,
    "110030": DUPLICATE, "110072": DUPLICATE, "170141": DUPLICATE,
    "110001": MISSING, "170142": MISSING, "170139": MISSING, "110008": MISSING, "110010": MISSING,
}  # fmt: skip

# "Error Code".
_OKX: Mapping[str, Verdict] = {
    "50011": _BUSY, "50061": _BUSY,
    "50102": _CLOCK, "50112": _CLOCK, "51503": MISSING,
    "50100": _KEY, "50101": _KEY, "50103": _KEY, "50104": _KEY, "50105": _KEY, "50106": _KEY,
    "50107": _KEY, "50110": _KEY, "50111": _KEY, "50113": _KEY, "50114": _KEY, "50119": _KEY,
    "50120": _KEY, "50121": _KEY,  # 50119 to 50121, 51169: remembered
    "50006": _OTHER, "50007": _DISABLED, "50008": _DISABLED,
    "51024": _DISABLED, "51155": _NO_SYMBOL, "51010": _DISABLED,
    "50062": _OTHER,
    "50014": _OTHER, "50015": _OTHER, "51000": _OTHER, "51169": _FLAT, "51112": _FLAT,
    "51023": _FLAT,  # "Position does not exist"
    "51001": _SYMBOL, "51002": _SYMBOL, "51014": _SYMBOL,
    "51021": _MARKET, "51022": _MARKET, "51027": _MARKET, "51028": _MARKET, "51030": _MARKET,
    "51005": _VOLUME, "51020": _VOLUME, "51121": _VOLUME, "51201": _VOLUME, "51202": _VOLUME,
    "51006": _PRICE, "51015": _SYMBOL, "51116": _PRICE, "51119": _MONEY, "51131": _MONEY,
    "51008": _MONEY, "51127": _MONEY, "51101": _VOLUME, "51103": _VOLUME, "51004": _VOLUME,
    "50009": _DISABLED, "50027": _DISABLED, "51009": _DISABLED, "54011": _NO_SYMBOL,
    "51007": _VOLUME, "51100": _VOLUME, "51102": _VOLUME, "51104": _VOLUME, "51105": _VOLUME,
    "51106": _VOLUME, "51107": _VOLUME, "51108": _VOLUME, "51118": _VOLUME, "51120": _VOLUME,
    "51129": _VOLUME, "51132": _VOLUME, "51185": _VOLUME, "51203": _VOLUME,
    "51031": _PRICE, "51122": _PRICE, "51135": _PRICE, "51136": _PRICE, "51137": _PRICE,
    "51138": _PRICE, "51204": _PRICE,
    "51029": _MARKET, "51109": _MARKET, "51110": _MARKET, "51124": _MARKET, "54094": _MARKET,
    "51128": _OTHER, "51133": _OTHER, "51139": _OTHER, "51174": _OTHER, "51205": _OTHER,
    "51134": _FLAT, "51736": _MONEY,
    "51277": _PRICE, "51278": _PRICE, "51279": _PRICE, "51280": _PRICE,  # a reached trigger
    "51011": DUPLICATE, "51016": DUPLICATE, "51065": DUPLICATE,  # 51065: remembered
    "51509": MISSING,
    "51400": MISSING, "51401": MISSING, "51402": MISSING, "51410": MISSING, "51603": MISSING,
}  # fmt: skip

# "API errors". Remembered: those that name cl_ord_id, costs, ticks, limits, the margin's
# allowance and level, or a deadline.
_KRAKEN: Mapping[str, Verdict] = {
    "EAPI:Rate limit exceeded": _BUSY, "EOrder:Rate limit exceeded": _BUSY,
    "EGeneral:Too many requests": _BUSY, "EGeneral:Temporary lockout": _BUSY,
    "EAPI:Invalid nonce": _CLOCK,
    "EGeneral:Invalid arguments:deadline": _CLOCK,  # more than a minute ahead
    "EService:Market in cancel_only mode": _MARKET, "EService:Market in post_only mode": _MARKET,
    "EService:Market in limit_only mode": _MARKET,
    "EAPI:Invalid key": _KEY, "EAPI:Invalid signature": _KEY, "ESession:Invalid session": _KEY,
    "EGeneral:Permission denied": _DISABLED, "ETrade:User Locked": _DISABLED,
    "EOrder:Trading agreement required": _DISABLED,
    # remembered: "…:DOGEUSD trading restricted for US:TX."
    "EAccount:Invalid permissions": _NO_SYMBOL,
    "EOrder:Insufficient funds": _MONEY, "EOrder:Insufficient margin": _MONEY,
    "EOrder:Margin allowance exceeded": _MONEY, "EOrder:Margin level too low": _MONEY,
    "EOrder:Order minimum not met": _VOLUME, "EOrder:Cost minimum not met": _VOLUME,
    "EGeneral:Invalid arguments:volume": _VOLUME,
    "EGeneral:Invalid arguments:price": _PRICE, "EOrder:Invalid price": _PRICE,
    "EOrder:Tick size check failed": _PRICE,
    "EQuery:Unknown asset pair": _SYMBOL, "EQuery:Invalid asset pair": _SYMBOL,
    "EOrder:Positions limit exceeded": _OTHER, "EOrder:Orders limit exceeded": _OTHER,
    "EGeneral:Invalid arguments": _OTHER,
    "EOrder:Duplicate cl_ord_id": DUPLICATE, "EOrder:cl_ord_id already in use": DUPLICATE,
    "EOrder:Unknown order": MISSING, "EOrder:Invalid order": MISSING,
}  # fmt: skip

# With what follows them: "EOrder:Invalid price:Invalid price argument", or in one word with the
# argument's name, "EGeneral:Invalid arguments:volume minimum not met", "…:price2". Longest first.
_KRAKEN_STARTS = tuple(
    (name if name.startswith("EGeneral:Invalid arguments:") else f"{name}:", _KRAKEN[name])
    for name in sorted(_KRAKEN, key=len, reverse=True)
)

# What each returns if it does not know the outcome, or does not exclude an acceptance: unknown
# execution status, time-outs, internal errors, maintenance. It counts whatever class ccxt gives it
# (Bybit's 170146, "Order creation timeout", is an InvalidOrder there).
UNSURE: Mapping[Envelope, frozenset[str]] = {
    Envelope.BINANCE: frozenset({"-1000", "-1001", "-1006", "-1007", "-1008", "-1016"}),
    Envelope.BYBIT: frozenset(
        {"429", "10000", "10016", "170001", "170007", "170146", "170147", "110079"}
    ),
    # 50036: after its expTime
    Envelope.OKX: frozenset({
        "50000", "50001", "50004", "50005", "50013", "50026", "50036", "51149",
    }),
    Envelope.KRAKEN: frozenset(
        {"EService:Unavailable", "EService:Busy", "EService:Timeout", "EGeneral:Internal error",
         "EDatabase:Internal error", "EService:Deadline elapsed"}
    ),
}  # fmt: skip

TABLES: Mapping[Envelope, Mapping[str, Verdict]] = {
    Envelope.BINANCE: _BINANCE, Envelope.BYBIT: _BYBIT, Envelope.OKX: _OKX,
    Envelope.KRAKEN: _KRAKEN, Envelope.CCXT: {},
}  # fmt: skip

# Binance -2010 and -1013: one code, many reasons ("Error codes", messages for -1010, -2010, -2011).
# Bybit 10001, remembered: "The order remains unchanged as the parameters entered match the existing
# ones.", "Qty invalid", "The number of contracts exceeds maximum limit allowed".
# An order list gets its filters' failures with -2010; -1111 is about whichever number is too fine.
MANY_REASONS = frozenset({"-2010", "-1013", "-1111", "10001"})
MESSAGES: Mapping[Envelope, tuple[tuple[str, Verdict], ...]] = {
    Envelope.BINANCE: (
        ("insufficient balance", _MONEY),
        ("Duplicate order sent", DUPLICATE),
        ("Market is closed", _MARKET),
        ("This symbol is not permitted", _NO_SYMBOL),
        ("is disabled on this account", _DISABLED),
        ("account may not place", _DISABLED),
        ("Rest API trading is not enabled", _DISABLED),
        ("would trigger immediately", _PRICE),
        ("PRICE_FILTER", _PRICE),
        ("PERCENT_PRICE", _PRICE),
        ("MAX_NUM", _OTHER),  # as many orders as the account or the symbol may have
        ("LOT_SIZE", _VOLUME),
        ("NOTIONAL", _VOLUME),
        ("'price'", _PRICE),
        ("'stopPrice'", _PRICE),
    ),
    Envelope.BYBIT: (
        ("remains unchanged", UNCHANGED),
        ("Qty", _VOLUME),
        ("qty", _VOLUME),
        ("number of contracts", _VOLUME),
    ),
}

# Statuses that mean refused before anything was taken. Binance "HTTP Return Codes", read
# 2026-11-20: 429 and 418 (banned), while a 5xx proves nothing about what was done. OKX's 429 comes
# with 50011. The others report it in their envelope.
# Bybit "HTTP Code", read 2026-11-20: 429 is its frequency protection. A 403 may be a proxy's page.
BUSY_STATUSES: Mapping[Envelope, frozenset[int]] = {
    Envelope.BINANCE: frozenset({418, 429}), Envelope.OKX: frozenset({429}),
    Envelope.BYBIT: frozenset({429}),
}  # fmt: skip

# Statuses after which all accounts behind our address pause, and for how many seconds without a
# Retry-After. Bybit "Rate Limit Rules": after a 403 wait at least ten minutes.
DEFAULT_BACKOFFS: Mapping[int, float] = {418: 120.0, 429: 10.0}
ADDRESS_BACKOFFS: Mapping[Envelope, Mapping[int, float]] = {
    Envelope.BYBIT: {403: 600.0, 429: 10.0},
    Envelope.OKX: {},  # its 429 is an account's or an endpoint's
}

# ccxt/base/errors.py. Of a request that never left, what ccxt refused by itself; of a read or a
# cancel, a word for what went wrong. No proof of what became of an order.
CLASSES: Mapping[str, Verdict] = {
    "DuplicateOrderId": DUPLICATE, "OrderNotFound": MISSING,
    "InsufficientFunds": _MONEY, "BadSymbol": _SYMBOL, "MarketClosed": _MARKET,
    "AccountSuspended": _DISABLED, "AccountNotEnabled": _DISABLED, "RestrictedLocation": _DISABLED,
    "PermissionDenied": _DISABLED, "AuthenticationError": _KEY,
    "OrderNotFillable": _FILLED_NOT, "OrderImmediatelyFillable": _PRICE,
    "ContractUnavailable": _MARKET,
    "InvalidOrder": _OTHER, "InvalidNonce": _CLOCK,
}  # fmt: skip
# InvalidNonce is what ccxt calls a request outside of the exchange's time window.
# RateLimitExceeded, DDoSProtection, OnMaintenance and ExchangeNotAvailable are not here: ccxt
# raises them for HTTP statuses of any gateway, and only the tables above list which of them
# accepted nothing.

# What an exchange that was not checked is believed: a refusal that cannot follow an acceptance, by
# its class. None is NOT_SENT: such an exchange has no look-up of an order of ours, so
# nothing may be sent a second time. Not InvalidOrder, which is a time-out on some ("9000", "Order
# confirmation timeout" of derive), an internal error or a repeated id on others; nor what extends
# it, but for the classes here. Read in all exchanges of ccxt 4.5.90 on 2026-11-20.
UNCHECKED_CLASSES = frozenset({
    "InsufficientFunds", "BadSymbol", "MarketClosed", "AccountSuspended", "AccountNotEnabled",
    "RestrictedLocation", "PermissionDenied", "AuthenticationError",
})  # fmt: skip


def verdict_of(envelope: Envelope, code: str, message: str) -> Verdict | None:
    """Return what an exchange's own code means; None: it is in no table."""
    if code in UNSURE.get(envelope, ()):
        return UNKNOWN
    found = TABLES[envelope].get(code)
    if (
        found is None and envelope is Envelope.KRAKEN
    ):  # "EOrder:Invalid price:Invalid price argument"
        found = next((v for start, v in _KRAKEN_STARTS if code.startswith(start)), None)
    if code in MANY_REASONS:
        return next((v for part, v in MESSAGES.get(envelope, ()) if part in message), found)
    return found


# How each writes a code of its own, so that what is none of them is no refusal. Binance's are
# negative, and its 200 is a success; Kraken names the kind of an error.
OWN_CODES: Mapping[Envelope, re.Pattern[str]] = {
    Envelope.BINANCE: re.compile(r"-\d+"),
    Envelope.BYBIT: re.compile(r"[1-9]\d*"),
    Envelope.OKX: re.compile(r"\d{5}"),
    Envelope.KRAKEN: re.compile(r"E\w+:.+"),
}


def is_refusal(envelope: Envelope, code: str) -> bool:
    """Whether it is one of an exchange's own codes for a request that was not done, and not one of
    those with which it states that it does not know."""
    own = OWN_CODES.get(envelope)
    return own is not None and own.fullmatch(code) is not None and code not in UNSURE[envelope]


def verdict_by_class(names: tuple[str, ...]) -> Verdict | None:
    """Return what ccxt's error means. names: its class and that class's bases, nearest first."""
    return next((CLASSES[name] for name in names if name in CLASSES), None)


def verdict_for_unchecked(names: tuple[str, ...]) -> Verdict:
    """Return what ccxt's error proves where the exchange was not checked. names: see
    `verdict_by_class`."""
    nearest = next((name for name in names if name in CLASSES), "")
    return CLASSES[nearest] if nearest in UNCHECKED_CLASSES else UNKNOWN
