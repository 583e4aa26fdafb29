"""Where the checks play: an adapter, an account, and what can be made to happen at the broker.

A stage tells for each thing that it cannot offer why (`lacks`); what needs it is then told as not
applicable, with that reason, and never as passed.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from brokers.base import BrokerAdapter
from brokers.types import ConnectionSpec, OrderRequest, Quote


class NotApplicable(Exception):
    """A check cannot be made here; its text says why."""


class HarnessFeature(StrEnum):
    """What a stage may offer beside the account itself."""

    JOURNAL = "a journal of what the broker accepted"
    PRICES = "prices that can be moved"
    SECOND = "a second account"
    PASSWORD = "a wrong password"  # noqa: S105 (what is offered, not one)
    HOST = "a host that nobody listens on"
    ACCOUNT = "an account that there is not"
    NEW_PROCESS = "our process beginning anew"
    RESTART = "a restart of the broker"
    OWNER = "the owner's own hand"
    EXECUTED_TWICE = "an order that the broker executes a second time"
    EXTREMES = "orders that a broker must refuse, sent to it"


class InjectedFault(StrEnum):
    """What can go wrong at a broker, on demand. `begin` starts it, `end` ends all of it."""

    REFUSED = "the next order is refused"
    LOST = "the next order does not arrive, and nothing answers"
    NO_ANSWER = "the next order is taken, and nothing answers"
    CUT = "the next order is taken, and the line breaks before the answer"
    LATE = "the next order is taken, and answered after our time-out"
    HALF = "the next order is taken, and half of an answer comes"
    UNLISTED = "the next order is taken, and answered with a code that nobody lists"
    PIECES = "orders are filled in three executions"
    PARTIAL = "orders find half of their quantity, and no more for now"
    OVERTAKEN = "the next cancel arrives after a fill"
    REPLAY = "executions that were told are told once more"
    READS = "reads are answered in part"
    CLOSED = "the market is closed"
    NO_MONEY = "the account has no money"
    DISABLED = "trading is not allowed"
    DOWN = "the broker cannot be reached"
    STOPS_NEAR = "stops must keep a distance from the price"
    DROPS_LEVELS = "orders and changes are taken, and their stops and targets fall away"
    DROPS_LATER = "the stops and targets of what is open fall away, long after they were confirmed"
    SKEW = "the broker's clock is ten minutes ahead of ours"
    SLOW = "the broker's clock is ten minutes behind ours"


class Harness:
    """One account at one broker. A stage of a double derives from it and overrides what it offers.

    symbol: the broker's own name of what is traded; quantity: of a usual order, base units, at
    least three steps and below the maximum; halves of it are traded too.
    patience: seconds until what the broker has done is known to everybody here.
    absence: seconds until a look-up may be sure that an order never arrived.
    drop_seen: seconds until an event tells that a stop has fallen away; a polled broker's positions
    show it at once, so that the poll's interval is the bound there.
    far: how far from the price an order surely rests, as a part of it.
    """

    name = ""
    patience = 5.0
    absence = 5.0
    drop_visible = 5.0
    far = Decimal("0.02")
    tick: Decimal | None = None  # the smallest step of a price; None: by the instrument's digits

    adapter: BrokerAdapter
    spec: ConnectionSpec
    symbol: str
    quantity: Decimal
    unavailable: Mapping[HarnessFeature | InjectedFault, str]

    async def quote(self) -> Quote:
        """The price now. Raises ReadFailed; NotApplicable where none can be had."""
        if self.adapter.capabilities(self.spec).quotes:
            return await self.adapter.quote(self.spec, self.symbol)
        raise NotApplicable("the adapter tells no prices")

    async def accepted(self, client_order_id: str) -> int:
        """How often the broker has accepted an order with this id. For Offer.JOURNAL."""
        raise NotImplementedError

    async def move(self, factor: Decimal) -> None:
        """Move the price to this multiple of the first one; returns when the broker has seen it.

        For Offer.PRICES."""
        raise NotImplementedError

    async def gap(self, factor: Decimal) -> None:
        """The next order finds the price at this multiple of the first one, after the adapter has
        looked at it for the last time. Where adapters look at none before they send, moving it now
        is the same. Raises NotApplicable where the broker bounds no fill. For Offer.PRICES."""
        if self.adapter.capabilities(self.spec).keeps_worst_price:
            raise NotApplicable("the price cannot be moved between the adapter's look and the fill")
        await self.move(factor)

    async def second(self) -> ConnectionSpec:
        """Another account at the same broker, for the same adapter. For Offer.SECOND."""
        raise NotImplementedError

    async def with_mistake(self, what: HarnessFeature) -> ConnectionSpec:
        """The connection with a mistake: Offer.PASSWORD, HOST or ACCOUNT."""
        raise NotImplementedError

    async def new_process(self) -> None:
        """Our process begins anew: `adapter` has nothing in its memory. For Offer.ANEW."""
        raise NotImplementedError

    async def restart(self) -> None:
        """The broker's process ends and comes again with its books. For Offer.RESTART."""
        raise NotImplementedError

    async def owner_closes(self, broker_position_id: str) -> None:
        """The account's owner closes a position by hand. For Offer.OWNER."""
        raise NotImplementedError

    async def execute_again(self, request: OrderRequest) -> None:
        """The broker executes a market order once more, under the same id. For Offer.AGAIN."""
        raise NotImplementedError

    async def begin(self, trouble: InjectedFault) -> None:
        """Make trouble from now on; what concerns "the next order" only that one."""
        raise NotImplementedError

    async def half(self) -> Sequence[str]:
        """Pieces of the half answer that Trouble.HALF has sent, as a person must be able to read
        them. Raises NotApplicable where none of it reaches the adapter. For Trouble.HALF."""
        raise NotApplicable("the stage does not say what half it sent")

    async def clear(self, placed: Sequence[OrderRequest]) -> None:
        """A check is over: undo what it placed. Nothing where the stage is torn down anyway."""

    async def end(self) -> None:
        """All trouble is over, and the broker answers as it should."""
