"""The operations of `brokers.paper.exchange` over TCP: a name and positional arguments."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brokers.paper.account_actions import owner_closes
from brokers.paper.models import PaperAccount
from brokers.paper.quote_processing import forget_prices, on_quotes
from brokers.paper.seed import list_instruments, open_accounts

if TYPE_CHECKING:
    from tests.fakes.paper_server.sync_client import SyncClient


class ExchangeClient:
    """Calls operations of the server at host:port, for `brokers.paper.exchange.use`."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def __call__(self, name: str, *arguments: Any, **words: Any) -> Any:
        """Raises ReadFailed when the server cannot be reached."""
        return self._client.call(name, *positional(name, arguments, words))

    @cached_property
    def _client(self) -> "SyncClient":
        # Imported here: it is a tenth of a process's start, and few processes call operations.
        from tests.fakes.paper_server.sync_client import SyncClient

        return SyncClient(*self._address)


def positional(name: str, arguments: Sequence[Any], words: dict[str, Any]) -> Sequence[Any]:
    """Return an operation's arguments as `OPERATIONS` and `protocol.CALLS` take them."""
    if name == "open_accounts":
        return (*arguments, words.pop("balance"), words.pop("password"), words)
    return arguments


def set_terms(numbers: Sequence[str], terms: Mapping[str, Any]) -> int:
    """Change terms or faults (fields of PaperAccount) of accounts; no numbers: of all.

    Returns how many accounts that were.
    """
    accounts = PaperAccount.objects.all()
    return (accounts.filter(number__in=numbers) if numbers else accounts).update(**terms)


def _open_accounts(
    numbers: Sequence[str], balance: Decimal, password: str, terms: Mapping[str, Any]
) -> None:
    open_accounts(numbers, balance=balance, password=password, **terms)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "on_quotes": on_quotes,
    "forget_prices": forget_prices,
    "owner_closes": owner_closes,
    "list_instruments": list_instruments,
    "open_accounts": _open_accounts,
    "set_terms": set_terms,  # the tests' own
}
