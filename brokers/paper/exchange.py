"""What the paper broker offers beside the adapter: prices in, accounts, the owner's own actions.

For callers without an event loop.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from brokers.paper import account_actions, quote_processing, seed
from brokers.types import Quote

CURRENCIES = ("USD", "EUR", "GBP", "CHF", "JPY")
"""What its accounts may be in."""
P = ParamSpec("P")
T = TypeVar("T")
_backend: Callable[..., Any] | None = None


def use(backend: Callable[..., Any] | None) -> None:
    """Send this process's calls to another paper broker; None: back to the one in this process.

    backend: called with the operation's name (`on_quotes`, `open_accounts` …) and its arguments.

    Nothing in the product calls this. Tests need a broker that survives when our processes are
    killed, so they run one as a server (`tests/fakes/paper_server`). DJANGO_SETTINGS_MODULE names
    their settings in the environment of the processes that they start, Celery workers too. Those
    settings install a Django app, which calls `use` and replaces the adapter in
    `brokers.registry.BUILT_IN`.
    """
    global _backend
    _backend = backend


def on_quotes(quotes: Sequence[Quote]) -> int:
    """Apply new prices, in order, and execute what they reach. Return the number of outcomes.

    See `quote_processing.on_quotes`. May be repeated: prices it already has are skipped.
    """
    return _call(quote_processing.on_quotes, list(quotes))


def forget_prices() -> None:
    """Forget all prices: the next market session may be in the past (a restarted replay)."""
    _call(quote_processing.forget_prices)


def owner_closes(account: str, position: str = "") -> int:
    """Close positions as the account's owner would in the broker's own terminal.

    See `account_actions.owner_closes`. Returns how many entries it ended.
    """
    return _call(account_actions.owner_closes, account, position)


def list_instruments() -> None:
    """List the usual symbols; existing ones keep an operator's changes."""
    _call(seed.list_instruments)


def open_account(
    number: str, *, balance: Decimal = Decimal(10_000), password: str = "", **terms: Any
) -> None:
    """Open an account with a first deposit (account currency); terms: fields of PaperAccount."""
    open_accounts([number], balance=balance, password=password, **terms)


def open_accounts(
    numbers: Iterable[str], *, balance: Decimal = Decimal(10_000), password: str = "", **terms: Any
) -> None:
    """Open many accounts with the same terms; existing ones are not changed."""
    _call(seed.open_accounts, list(numbers), balance=balance, password=password, **terms)


def _call(operation: Callable[P, T], *arguments: P.args, **words: P.kwargs) -> T:
    if _backend is None:
        return operation(*arguments, **words)
    result: T = _backend(operation.__name__, *arguments, **words)
    return result
