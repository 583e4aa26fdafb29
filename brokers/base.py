"""The one interface to every broker: frozen values in and out, three outcomes, no Django.

The values stand in `brokers/types.py`.

The rule that everything hangs on: `submit` ends in exactly one of
- an `OrderReport`: the broker has spoken;
- `NotSent`: proven that no byte left, or the broker says that it took nothing. May be tried again;
- `Rejected`: the broker's final no;
- `OutcomeUnknown`: it may be live. It is looked up by client order id, never sent again blindly.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from brokers.connection_form import Form
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Capabilities,
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


class BrokerError(Exception):
    """Base of the outcomes. code: our reason code; detail: the broker's own words, no secrets."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code = code
        self.detail = detail


class NotSent(BrokerError):  # an outcome with a name of its own, as in the docs
    """Proven: nothing reached the broker."""


class Rejected(BrokerError):
    """The broker's definitive refusal."""


class OutcomeUnknown(BrokerError):
    """It may be live: a time-out, a broken line or an unlisted answer after the send."""


class ReadFailed(BrokerError):
    """A read (account, positions, look-up) failed or was partial; it proves nothing."""


Guard = Callable[[OrderRequest], None]
"""Raises NotSent if the order must not leave any more (deadline, kill switch); called by the
adapter right before the socket write, with nothing awaited in between."""

Outcome = list[OrderReport] | BrokerError
OnOutcome = Callable[[OrderRequest, Outcome], None]
"""How `submit_many` tells what became of an order; called once for each."""


class BrokerAdapter(Protocol):
    """One broker kind. One instance serves all its connections in a process; calls are async and
    run on the process's event loop, never inside a database transaction of ours.

    What is known of a kind without its library stands in the module of its factory: `FORM`, which
    the adapter shows as `form`, and `capabilities_of(spec)`, which it answers `capabilities` with.
    """

    kind: str
    form: Form

    def capabilities(self, spec: ConnectionSpec) -> Capabilities: ...

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Name the list of instruments that this account shares with others ('paper')."""
        ...

    async def connect(self, spec: ConnectionSpec) -> None:
        """Open what this account's calls need (a session, a log-in) and keep it; calls that find
        none open it themselves. Raises ReadFailed with the code that says what is wrong."""
        ...

    async def test(self, spec: ConnectionSpec) -> list[Check]: ...

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Raises ReadFailed."""
        ...

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]: ...

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Tell the top of book now. symbol: the broker's own; the quote has the canonical pair, as
        `Instrument.pair`. Raises ReadFailed: UNKNOWN_SYMBOL_AT_BROKER, MARKET_CLOSED where there is
        no price, NOT_SUPPORTED where capabilities say that there are none."""
        ...

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        """Tell quotes as they come, until it is closed. symbols: the broker's own.

        Raises ReadFailed, at the first step where capabilities have no `price_stream`."""
        ...

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Reckon what an order would cost; nothing leaves for execution.

        Raises Rejected with the code that the order would be refused with, ReadFailed."""
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
        """Place many at once; `on_outcome` is called once for each, as soon as its outcome is
        known. What was not told when the call ends or fails is unknown.

        Capabilities say whether the broker takes many; where it does not this is `submit_each`."""
        ...

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order. Calls `check_deadline(request)` right before the socket write."""
        ...

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Move stop loss and take profit of a position. Returns a LEVELS report.

        Calls `check_deadline(request)` right before the socket write."""
        ...

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Everything the broker knows of one order; None: it certainly does not have it (within
        the lookup horizon). symbol: the broker's own, that the order was sent for, where we still
        know it: some find an order by it only. Raises ReadFailed when it cannot be sure."""
        ...

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Raises ReadFailed rather than returning a part."""
        ...

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Every order that rests at the broker on this account, whoever placed it. The stops and
        targets that belong to a position are no orders. Raises ReadFailed rather than returning a
        part."""
        ...

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """What was executed on this account since a time of the broker's (and perhaps before it):
        FILLED reports as `find_order` tells them, an order's executions in one or in several.

        Exits that the broker or the owner made have the entry's `client_order_id` where the broker
        keeps it, `close_cause` and `broker_position_id`. Raises ReadFailed rather than returning a
        part, and where `fills_horizon` is None."""
        ...

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        """What the broker told and was not acknowledged, for all connections of this kind, oldest
        first; redelivered until acknowledged. after: an event_id that came before: only what
        stands behind it, so that reports which must wait hide nothing."""
        ...

    async def acknowledge(self, event_ids: Sequence[str]) -> None: ...

    def stream_events(self) -> AsyncIterator[None]:
        """Ring: yield once whenever something new waits in `events`, and once at the beginning.

        It only says when to read: `events` and `acknowledge` stay the one way to hear. A bell that
        was not answered yet rings once for all that has come since. Raises ReadFailed when it
        cannot ring any more (begin anew), and at the first step where capabilities have no
        `event_stream`."""
        ...

    async def clock(self) -> datetime | None:
        """The broker's own time, for the clock comparison; None where it tells none."""
        ...

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """End one account's session; None: all of this process's. The next call opens it anew."""
        ...


async def unsupported_stream(what: str) -> AsyncIterator[Any]:
    """The stream of a broker that has none: raises ReadFailed NOT_SUPPORTED at its first step."""
    nothing: tuple[Any, ...] = ()
    for one in nothing:
        yield one
    raise ReadFailed(Code.NOT_SUPPORTED, what)


async def submit_one(
    adapter: BrokerAdapter, spec: ConnectionSpec, request: OrderRequest, guard: Guard
) -> list[OrderReport]:
    """`submit` of an adapter that can place many: one of them.

    Raises NotSent, Rejected or OutcomeUnknown."""
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
    """`submit_many` of an adapter that places one order at a time: each by itself, beside the
    others, so that none waits for another's answer. What must be in turn, `submit` keeps in turn.

    An error that is no outcome leaves that order untold, and is raised when the others are told.
    """

    async def one(spec: ConnectionSpec, request: OrderRequest) -> None:
        try:
            on_outcome(request, await adapter.submit(spec, request, guard))
        except BrokerError as error:
            on_outcome(request, error)

    placed = (one(spec, request) for spec, request in requests)
    for ended in await asyncio.gather(*placed, return_exceptions=True):
        if ended is not None:
            raise ended


def check_deadline(request: CancelRequest | ModifyRequest) -> None:
    """Raise NotSent if a cancel or a moved level must not leave any more.

    The adapter calls it right before the socket write, with nothing awaited in between: a process
    that was stopped for a while must not put an old stop in a newer one's place.
    """
    if request.send_by is not None and machine_time() > request.send_by:
        raise NotSent(Code.SEND_DEADLINE)
