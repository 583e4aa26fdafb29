"""The one interface to every broker. It has frozen values in and out, and it is free of Django.

The values are defined in `brokers/types.py`.

The most important rule: `submit` ends in exactly one of these outcomes:
- an `OrderReport`: the broker's answer;
- `NotSent`: proof that no byte left, or that the broker accepted nothing. We may send it again;
- `Rejected`: the broker's final refusal;
- `OutcomeUnknown`: the order may be live. We look it up by client order id and never send it again
  without an answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from brokers.account_capabilities import Capabilities
from brokers.connection_form import Form
from brokers.types import (
    AccountState,
    BrokerCashFlow,
    BrokerFunding,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.clocks import machine_time
from common.reason_codes import Code

T = TypeVar("T")


class BrokerError(Exception):
    """Base of the outcomes. code: our reason code; detail: the broker's own text, no secrets."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code = code
        self.detail = detail


class NotSent(BrokerError):  # the outcomes are named as in the docs, without "Error"
    """Proof that nothing reached the broker."""


class Rejected(BrokerError):
    """The broker's final refusal."""


class OutcomeUnknown(BrokerError):
    """The order may be live: a time-out, a lost connection or an unlisted answer after the send."""


class ReadFailed(BrokerError):
    """A read (account, positions, look-up) failed or was partial; it proves nothing."""


class CallCancelled(Exception):
    """What a call awaited was cancelled, by its library or by another call; it proves nothing."""


Guard = Callable[[OrderRequest], None]
"""Raises NotSent if the order must not leave any more (deadline, kill switch). The adapter calls it
right before the socket write and awaits nothing in between.

For adapters of this repository it also records that the order leaves: one that was sent without it
would be sent again if the process died before the outcome was stored.
"""

Outcome = list[OrderReport] | BrokerError
OnOutcome = Callable[[OrderRequest, Outcome], None]
"""Receives each order's outcome from `submit_many`; called once for each order."""


class BrokerAdapter(Protocol):
    """One broker type. One instance serves all its connections in a process.

    Calls are async. They run on the process's event loop, never inside one of our database
    transactions.

    Put what is known without the broker's library into the module of the factory: `FORM`, which the
    adapter returns as `form`, and `capabilities_of(spec)`, which `capabilities` returns.
    """

    broker_type: str
    form: Form

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what this account supports. Makes no call."""
        ...

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Return the name of the instrument list that this account shares with others ('paper')."""
        ...

    async def connect(self, spec: ConnectionSpec) -> None:
        """Open what this account's calls need (a session, a log-in) and keep it.

        Calls that find no session open one themselves. Raises ReadFailed; its code states the
        cause."""
        ...

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Run the connection test and return its checks in the order in which they ran."""
        ...

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Read balance, equity and margins. Raises ReadFailed."""
        ...

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        """Return all instruments that this account can trade. Raises ReadFailed."""
        ...

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Return the current top of book.

        symbol: the broker's own; the quote has the canonical pair, as `Instrument.pair`. Raises
        ReadFailed: UNKNOWN_SYMBOL_AT_BROKER; MARKET_CLOSED if there is no price; NOT_SUPPORTED if
        capabilities have no quotes."""
        ...

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        """Yield quotes as they arrive, until it is closed. symbols: the broker's own.

        Raises ReadFailed, at the first step if capabilities have no `price_stream`."""
        ...

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Return what an order would cost. Nothing is sent for execution.

        Raises Rejected with the code that the order would be rejected with, or ReadFailed."""
        ...

    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        ...

    async def submit_many(
        self,
        requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
        guard: Guard,
        on_outcome: OnOutcome,
    ) -> None:
        """Place many orders at once and call `on_outcome` once for each, as soon as it is known.

        An order without an outcome when the call ends or fails is unknown. Capabilities state
        whether the broker takes many orders in a request; if not, this is `submit_each`."""
        ...

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. Its reports need not state fills of before: those are looked up.

        Calls `check_deadline(request)` right before the socket write."""
        ...

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Change the price or quantity of a working order in place. Returns a CHANGED report.

        Only for `capabilities.changes_orders`. The broker keeps the order with its ids: it never
        ends one and places another. Raises Rejected, also CHANGE_UNSUPPORTED for fields that it
        cannot change, and ORDER_ENDED if the order does not work any more; NotSent or
        OutcomeUnknown, after which `open_orders` has what the order is. The same request again has
        the same effect. Calls `check_deadline(request)` right before the socket write."""
        ...

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Move the stop loss and take profit of a position. Returns a LEVELS report.

        Calls `check_deadline(request)` right before the socket write."""
        ...

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Return everything that the broker has about one order.

        None: the broker certainly does not have it (within the lookup horizon). symbol: the
        broker's own symbol of the order, if we still have it: some brokers find an order by symbol
        only. Raises ReadFailed if the answer is not certain."""
        ...

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Return all open positions. Raises ReadFailed rather than returning some of them.

        One that cannot be read is in the list as `unreadable_position`. Other lists leave out a row
        that cannot be read, and note it (`brokers/unreadable_rows.py`)."""
        ...

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Return every working order of this account, ours or not.

        Stops and targets that belong to a position are not orders. Raises ReadFailed rather than
        returning some of the orders."""
        ...

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """Return what was executed on this account since a broker time, perhaps also earlier fills.

        The reports are FILLED, as `find_order` returns them; an order's executions may be in one or
        in several. Exits made by the broker or by the account's owner have `close_cause`,
        `broker_position_id` and, if the broker keeps it, the entry's `client_order_id`. Raises
        ReadFailed rather than returning some of them, and if `fills_horizon` is None."""
        ...

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        """Return the deposits and withdrawals since a broker time, perhaps also earlier ones.

        Not trades, and not what trading costs or earns: commission, swap, interest, dividends.
        What has changed the balance that `account` returns must be listed in a later call. Raises
        ReadFailed rather than returning some of them; NOT_SUPPORTED if this account cannot list
        them at all, as by the rights of its key, and if `cash_flows_horizon` is None."""
        ...

    async def funding(
        self, spec: ConnectionSpec, since: datetime, until: datetime
    ) -> list[BrokerFunding]:
        """Return what perpetuals were charged or paid between two broker times, perhaps also more.

        Only what comes apart from executions: what comes with one is its `swap`. Raises ReadFailed
        rather than returning some of it, and if `funding_horizon` is None."""
        ...

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """Return reports that were not acknowledged yet, of all connections, oldest first.

        They are delivered again until they are acknowledged. after: an earlier event_id; only later
        events are returned, so that deferred reports do not hide new ones."""
        ...

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        """Drop these events; we have stored them."""
        ...

    def stream_events(self) -> AsyncIterator[None]:
        """Yield once at the beginning, and once whenever `events` has something new.

        It only signals when to read; reports come from `events`. Notifications that the caller has
        not consumed yet are merged into one. Raises ReadFailed if it cannot notify any more (call
        it again), and at the first step if capabilities have no `event_stream`."""
        ...

    async def clock(self) -> datetime | None:
        """Return the broker's own time for the clock comparison; None if it does not state any."""
        ...

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """End one account's session, or with None all sessions of this process.

        The next call opens a new one."""
        ...


@runtime_checkable
class OrderWatcher(Protocol):
    """What an adapter has besides `BrokerAdapter` if its capabilities have `order_stream`."""

    def watch_orders(self, spec: ConnectionSpec) -> AsyncIterator[None]:
        """Yield once as soon as changes are announced, then once whenever an order of this account
        may have changed or was executed; what the caller has not consumed yet is merged.

        It only states when to read the account: a message that is lost or doubled changes nothing
        else. Raises ReadFailed when the stream has ended (call it again, after a while), and at the
        first step if capabilities have no `order_stream`."""
        ...


async def outcome_of(call: Awaitable[T]) -> T | Exception:
    """Await a call, such as an adapter's; return its answer, or the exception that it raised.

    An adapter raises BrokerError. Its broker's library, or a bug, may raise anything else, which
    proves nothing about what was sent. A cancellation of the task that awaits is raised.
    """
    try:
        return await call
    except Exception as error:  # any: a broker's library may raise anything
        return error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return CallCancelled()


async def submit_one(
    adapter: BrokerAdapter, spec: ConnectionSpec, request: OrderRequest, guard: Guard
) -> list[OrderReport]:
    """Implement `submit` by `submit_many`. Raises NotSent, Rejected or OutcomeUnknown."""
    outcomes: list[Outcome] = []
    await adapter.submit_many([(spec, request)], guard, lambda _, outcome: outcomes.append(outcome))
    if isinstance(outcomes[0], BrokerError):
        raise outcomes[0]
    return outcomes[0]


async def submit_each(
    adapter: BrokerAdapter,
    requests: Sequence[tuple[ConnectionSpec, OrderRequest]],
    guard: Guard,
    on_outcome: OnOutcome,
) -> None:
    """Implement `submit_many` by one concurrent `submit` for each order.

    No order waits for another's answer. If orders must go one after the other, `submit` sees to it.
    An error that is not an outcome leaves its order without one; it is raised after all others have
    ended.
    """

    async def submit_and_report(spec: ConnectionSpec, request: OrderRequest) -> None:
        try:
            on_outcome(request, await adapter.submit(spec, request, guard))
        except BrokerError as error:
            on_outcome(request, error)

    submissions = (submit_and_report(spec, request) for spec, request in requests)
    for error in await asyncio.gather(*submissions, return_exceptions=True):
        if error is not None:
            raise error


def check_deadline(request: CancelRequest | ChangeRequest | ModifyRequest) -> None:
    """Raise NotSent if the send deadline of a cancel or a change has passed.

    The adapter calls it right before the socket write and awaits nothing in between. Otherwise a
    process that was suspended for a while could replace a newer stop by an old one.
    """
    if request.send_by is not None and machine_time() > request.send_by:
        raise NotSent(Code.SEND_DEADLINE)
