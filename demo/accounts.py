"""The demo's users and accounts: 50 tenants with three accounts each, and the operator's. Pure.

They are the same in every run, since the random generator has a fixed seed.
"""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

SEED = 20140502
DAY = datetime(2014, 5, 2, tzinfo=UTC)
SEEDED_AT = DAY.replace(day=1)  # market clock: long before the first alert
ACCOUNTS_EACH = 3
OPERATOR = "operator"
PASSWORD = "fillcast-demo"  # noqa: S105  # printed; only on 127.0.0.1
ACCOUNT_PASSWORD = "play-money-7"  # noqa: S105
FEED = "payrolls"
NAMES = (
    "anna", "boris", "carla", "david", "elena", "farid", "greta", "henry", "irina", "jonas",
    "karin", "liam", "maria", "nadia", "oscar", "paula", "quentin", "rosa", "simon", "tamara",
    "ugo", "vera", "walid", "xenia", "yusuf", "zoe", "adam", "bella", "cyril", "dora",
    "emil", "fiona", "gustav", "hanna", "ivan", "julia", "klaus", "lea", "milan", "nora",
    "otto", "petra", "rafael", "sofia", "timo", "ulla", "victor", "wanda", "yara", "zeno",
)  # fmt: skip
PURPOSES = ("Main", "Swing", "Savings")
BALANCES = (5_000, 10_000, 25_000, 50_000, 100_000)


@dataclass(frozen=True, slots=True)
class Trait:
    """How an account differs from the usual ones.

    paper: its settings at the paper broker. connection, subscription: values of those rows' fields.
    preset: by name.
    """

    name: str
    count: int = 0
    paper: Mapping[str, Any] = field(default_factory=dict)
    connection: Mapping[str, Any] = field(default_factory=dict)
    subscription: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""
    password: str = ACCOUNT_PASSWORD


PLAIN = Trait("")
NETTING = Trait(
    "netting", 12, paper={"position_mode": "NETTING"},
    connection={"settings": {"position_mode": "NETTING"}}, subscription={"directions": "BUY"},
)  # fmt: skip
NO_STOPS = Trait(
    "no stops at the broker", 10, paper={"native_stops": False},
    connection={"settings": {"native_stops": False}},
)  # fmt: skip
WRONG_PASSWORD = Trait("wrong password", 4, password="typo")  # noqa: S106
UNRESPONSIVE = Trait(
    "silent", 3, paper={"silent_after": True}, connection={"settings": {"reply_timeout": 2}}
)
TRAITS = (
    Trait("inactive", 6, connection={"is_active": False}),
    Trait("paused", 3, connection={"is_paused": True}),
    Trait("expired", 5, subscription={"expires_at": DAY.replace(hour=12)}),
    WRONG_PASSWORD,
    Trait("unreachable", 2, paper={"unreachable": True}),
    Trait("too small", 5, paper={"balance": Decimal(60)}),
    Trait("slow", 6, paper={"latency_ms": 150, "reply_delay_ms": 700}),
    Trait("rejecting", 4, paper={"reject_code": "NO_MONEY"}),
    UNRESPONSIVE,
    Trait("small fills", 4, paper={"partial_fill_max": Decimal(20_000)}),
    NETTING,
    NO_STOPS,
    Trait("stops with us", 8, preset="Stops kept here"),
    Trait("buys only", 5, subscription={"directions": "BUY"}),
    Trait("double", 4, subscription={"multiplier": Decimal(2)}),
    Trait("half", 4, subscription={"multiplier": Decimal("0.5")}),
    Trait("one at a time", 4, preset="One at a time"),
    Trait("trailing stop", 6, preset="Trailing stop"),
    Trait("daily loss limit", 6, preset="At most 1 % a day"),
    Trait("euro", 10, paper={"currency": "EUR"}),
    Trait("kiwi dollar", 3, paper={"currency": "NZD"}),
    Trait("pound", 2, paper={"currency": "GBP"}),  # no pair converts to it
)
# The accounts of the two tenants whose sign-in the demo prints.
FIRST_TENANTS = (PLAIN, NETTING, NO_STOPS, PLAIN, WRONG_PASSWORD, UNRESPONSIVE)
PRESETS: dict[str, dict[str, Any]] = {
    "Standard 1 %": {"risk_percent": 1},
    "Careful 0.5 %": {"risk_percent": Decimal("0.5")},
    "Bold 1.5 %": {"risk_percent": Decimal("1.5"), "max_leverage": 60},
    "5,000 each": {"sizing_mode": "FIXED_AMOUNT", "fixed_amount": 5_000},
    "Balance once": {"sizing_mode": "PERCENT_BALANCE", "percent_of_balance": 100},
    "Stops kept here": {"risk_percent": 1, "broker_holds_stops": False},
    "One at a time": {"risk_percent": 1, "max_open_positions": 1},
    "Trailing stop": {
        "risk_percent": 1, "break_even_profit": 6, "trailing_distance": 8, "trailing_step": 1,
        "trailing_activation": 4, "stop_move_seconds": 1,
    },
    "At most 1 % a day": {"risk_percent": 1},
}  # fmt: skip
LOSS_LIMITS: dict[str, dict[str, Any]] = {  # by preset
    "At most 1 % a day": {"measure": "REALIZED_LOSS", "maximum": 1}
}
USUAL_PRESETS = ("Standard 1 %", "Careful 0.5 %", "Bold 1.5 %", "5,000 each", "Balance once")


@dataclass(frozen=True, slots=True)
class Account:
    """One connection and its account at the paper broker. owner: a user name."""

    number: str
    owner: str
    name: str
    trait: Trait
    preset: str
    balance: Decimal

    @property
    def id(self) -> uuid.UUID:
        """The connection's id: the same in every demo."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"fillcast-demo:{self.number}")

    @property
    def is_operators(self) -> bool:
        """Whether the operator owns it: then it trades every signal, without a subscription."""
        return self.owner == OPERATOR

    @property
    def paper(self) -> dict[str, Any]:
        """The account's settings at the paper broker."""
        return {"balance": self.balance, **self.trait.paper}


def demo_accounts() -> list[Account]:
    """Return all accounts: two of the operator, then three of each tenant."""
    draw = random.Random(SEED)  # not used for secrets
    own = [
        Account(f"D-00{n}", OPERATOR, f"House {n}", PLAIN, "Standard 1 %", Decimal(100_000))
        for n in (1, 2)
    ]
    traits = _traits(draw)
    return own + [
        _account(index, traits[index], draw) for index in range(len(NAMES) * ACCOUNTS_EACH)
    ]


def _traits(draw: random.Random) -> list[Trait]:
    """Return a trait for each account: fixed for the first tenants, shuffled for the others."""
    rest = [trait for trait in TRAITS for _ in range(trait.count - FIRST_TENANTS.count(trait))]
    rest += [PLAIN] * (len(NAMES) * ACCOUNTS_EACH - len(FIRST_TENANTS) - len(rest))
    draw.shuffle(rest)
    return [*FIRST_TENANTS, *rest]


def _account(index: int, trait: Trait, draw: random.Random) -> Account:
    purpose = PURPOSES[index % ACCOUNTS_EACH]
    preset, balance = draw.choice(USUAL_PRESETS), draw.choice(BALANCES)
    if index < len(FIRST_TENANTS):  # large enough to trade every signal
        preset, balance = USUAL_PRESETS[0], BALANCES[-2]
    return Account(
        number=f"D-{100 + index}",
        owner=NAMES[index // ACCOUNTS_EACH],
        name=f"{purpose} ({trait.name})" if trait.name else purpose,
        trait=trait,
        preset=trait.preset or preset,
        balance=Decimal(balance),
    )
