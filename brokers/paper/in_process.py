"""What the venue offers when the books are this process's own: functions by name."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from brokers.paper import seed
from brokers.paper.account_actions import owner_closes
from brokers.paper.quote_processing import forget_prices, on_quotes


def _open_accounts(
    numbers: Sequence[str], balance: Decimal, password: str, terms: Mapping[str, Any]
) -> None:
    seed.open_accounts(numbers, balance=balance, password=password, **terms)


def _set_terms(numbers: Sequence[str], terms: Mapping[str, Any]) -> int:
    return seed.set_terms(numbers, **terms)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "on_quotes": on_quotes,
    "forget_prices": forget_prices,
    "owner_closes": owner_closes,
    "list_instruments": seed.list_instruments,
    "open_accounts": _open_accounts,
    "set_terms": _set_terms,
    "fund": seed.fund,
}
