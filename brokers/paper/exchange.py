"""What the paper broker offers beside the adapter: prices go in, and an owner acts by own hand.

For callers without an event loop. The broker is this process, or the one that the settings name;
then each function raises ReadFailed when it cannot be reached.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from brokers.paper.in_process import OPERATIONS
from brokers.paper.remote.endpoint import remote_address
from brokers.types import Quote

if TYPE_CHECKING:
    from brokers.paper.remote.sync_client import SyncClient


def on_quotes(quotes: Sequence[Quote]) -> int:
    """Take new prices, in order, and execute what they reach. Returns how many things happened.

    See `ticks.on_quotes`. May be repeated: what was had already is passed over.
    """
    happened: int = _call("on_quotes", list(quotes))
    return happened


def forget_prices() -> None:
    """Forget all prices: the next market session may lie in the past (a replay started anew)."""
    _call("forget_prices")


def owner_closes(account: str, position: str = "") -> int:
    """Close positions as the account's owner would in the broker's own terminal.

    See `desk.owner_closes`. Returns how many entries it ended.
    """
    ended: int = _call("owner_closes", account, position)
    return ended


def list_instruments() -> None:
    """List the usual symbols; those that are there keep what an operator made of them."""
    _call("list_instruments")


def open_account(
    number: str, *, balance: Decimal = Decimal(10_000), password: str = "", **terms: Any
) -> None:
    """Open an account with a first deposit (account currency); terms: fields of PaperAccount."""
    open_accounts([number], balance=balance, password=password, **terms)


def open_accounts(
    numbers: Iterable[str], *, balance: Decimal = Decimal(10_000), password: str = "", **terms: Any
) -> None:
    """Open many accounts alike; those that exist stay as they are."""
    _call("open_accounts", list(numbers), balance, password, terms)


def set_terms(numbers: Iterable[str] = (), **terms: Any) -> int:
    """Change terms or faults (fields of PaperAccount) of accounts; no numbers: of all.

    Returns how many that were.
    """
    changed: int = _call("set_terms", list(numbers), terms)
    return changed


def fund(number: str, amount: Decimal) -> Decimal:
    """Pay in (or, below 0, out), account currency; return the new balance."""
    balance: Decimal = _call("fund", number, amount)
    return balance


def _call(name: str, *arguments: Any) -> Any:
    if where := remote_address():
        return _client(*where).call(name, *arguments)
    return OPERATIONS[name](*arguments)


@cache
def _client(host: str, port: int) -> "SyncClient":
    # Here, since it is a tenth of a process's start, for a broker that few run on its own.
    from brokers.paper.remote.sync_client import SyncClient

    return SyncClient(host, port)
