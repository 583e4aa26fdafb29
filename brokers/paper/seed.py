"""Opening accounts and listing instruments: for demos, tests, benchmarks and the admin."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from brokers.paper.models import PaperAccount, PaperInstrument
from brokers.paper.reads import hash_password

INSTRUMENTS = (  # symbol, pair, digits, pip, min, step, max, contract size, margin rate
    ("EURUSD", "EUR/USD", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("GBPUSD", "GBP/USD", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("AUDUSD", "AUD/USD", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("NZDUSD", "NZD/USD", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("USDJPY", "USD/JPY", 3, "0.01", "1000", "1000", "50000000", "100000", "0"),
    ("USDCHF", "USD/CHF", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("USDCAD", "USD/CAD", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("EURGBP", "EUR/GBP", 5, "0.0001", "1000", "1000", "50000000", "100000", "0"),
    ("EURJPY", "EUR/JPY", 3, "0.01", "1000", "1000", "50000000", "100000", "0"),
    ("XAUUSD", "XAU/USD", 3, "0.1", "1", "1", "100000", "100", "0.05"),
    ("BTCUSD", "BTC/USD", 2, "1", "0.0001", "0.0001", "1000", "1", "0.5"),
    ("ETHUSD", "ETH/USD", 2, "0.1", "0.001", "0.001", "10000", "1", "0.5"),
    ("LTCUSD", "LTC/USD", 2, "0.01", "0.01", "0.01", "100000", "1", "0.5"),
    ("AAPL", "AAPL/USD", 2, "0.01", "1", "1", "100000", "1", "0.2"),
)


def list_instruments() -> None:
    """List the usual symbols; existing ones keep an operator's changes."""
    PaperInstrument.objects.bulk_create(
        [
            PaperInstrument(
                symbol=symbol, pair=pair, digits=digits, pip=Decimal(pip),
                quantity_min=Decimal(minimum), quantity_step=Decimal(step),
                quantity_max=Decimal(maximum), contract_size=Decimal(size),
                stops_level=Decimal(0), margin_rate=Decimal(margin),
            )
            for symbol, pair, digits, pip, minimum, step, maximum, size, margin in INSTRUMENTS
        ],
        ignore_conflicts=True,
    )  # fmt: skip


def open_accounts(
    numbers: Iterable[str], *, balance: Decimal = Decimal(10_000), password: str = "", **terms: Any
) -> None:
    """Open many accounts with the same terms; existing ones are not changed."""
    hashed = _hash(password)
    PaperAccount.objects.bulk_create(
        [
            PaperAccount(number=number, balance=balance, password_hash=hashed, **terms)
            for number in numbers
        ],
        ignore_conflicts=True,
        batch_size=5_000,
    )


def _hash(password: str) -> str:
    return hash_password(password) if password else ""
