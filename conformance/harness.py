"""What the checks run on: an adapter, an account, and faults that can be injected at the broker.

A harness gives the reason for each feature and fault that it does not offer (`unavailable`). A
check that needs such a feature is reported as not applicable with that reason, never as passed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from brokers.base import BrokerAdapter
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Quote, Side


class NotApplicable(Exception):
    """A check cannot run here; the text is the reason."""


class HarnessFeature(StrEnum):
    """What a harness may offer besides the account itself."""

    JOURNAL = "a journal of what the broker accepted"
    PRICES = "prices that can be moved"
    SECOND_ACCOUNT = "a second account"
    PASSWORD = "a wrong password"  # noqa: S105 (a feature's name)
    HOST = "a host where no server listens"
    ACCOUNT = "an account that does not exist"
    NEW_PROCESS = "a restart of our process"
    RESTART = "a restart of the broker"
    OWNER = "an action of the account's owner"
    EXECUTED_TWICE = "an order that the broker executes twice"
    CASH = "deposits and withdrawals that it can make"
    EXTREMES = "orders that the broker must refuse"
    ENGINE = "a trading process whose only account it is"


class InjectedFault(StrEnum):
    """A fault at the broker. `Harness.begin` starts one, `Harness.end` ends all.

    The next order: only the next one that is sent; the one after it is handled as usual."""

    REFUSED = "the next order is refused"
    LOST = "the next order does not arrive, and no reply comes"
    NO_ANSWER = "the next order is accepted, and no reply comes"
    CONNECTION_LOST = "the next order is accepted, and the connection breaks before the reply"
    LATE = "the next order is accepted, and the reply comes after our time-out"
    HALF_REPLY = "the next order is accepted, and only half of the reply comes"
    UNLISTED = "the next order is accepted, and the reply has an undocumented code"
    THREE_FILLS = "orders are filled in three executions"
    PARTIAL = "orders are filled for half of their quantity and then wait"
    OVERTAKEN = "the next cancel arrives after a fill"
    REPLAY = "executions that were reported are reported again"
    READS = "reads get only a part of their reply"
    CLOSED = "the market is closed"
    NO_MONEY = "the account has no money"
    DISABLED = "trading is not allowed"
    DOWN = "the broker cannot be reached"
    STOPS_NEAR = "stops must keep a distance from the price"
    FROZEN = "the prices of orders and levels are within the freeze level"
    COARSER = "the symbol's quantity step becomes twice as large"
    HALT_ENDED = "the symbol was halted when its data were read, and trades again"
    DELISTED = "the symbol leaves the broker's list while it is held"
    FEE_IN_COIN = "the fee of a purchase is taken out of what is bought"
    DROPS_LEVELS = "orders and changes are accepted, but their stops and targets are dropped"
    DROPS_LATER = (
        "the stops and targets of open positions are dropped, long after their confirmation"
    )
    RENUMBERED = "all positions and orders have other numbers, as after a move to another server"
    CLOCK_AHEAD = "the broker's clock is ten minutes ahead of ours"
    CLOCK_BEHIND = "the broker's clock is ten minutes behind ours"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An order as the broker's journal has it. quantity: base units."""

    client_order_id: str
    order_type: OrderType
    side: Side
    quantity: Decimal


class Harness:
    """One account at one broker. A fake broker's harness derives from this and overrides what it
    offers.

    name: of the account, in reports. symbol: the broker's name of what is traded.
    quantity: of a usual order, in base units; at least three steps and below the maximum. Checks
    also trade half of it.
    read_seconds: within them every read shows what the broker has done.
    absence_seconds: within them a look-up states that an order never arrived.
    drop_seconds: within them an event reports a dropped stop. A polled broker's positions show it
    at once, so the poll interval is the limit there.
    far_fraction: the distance from the price at which a limit order certainly stays open, as a
    fraction of the price.
    unavailable: why a feature or fault is missing.
    """

    name = ""
    read_seconds = 5.0
    absence_seconds = 5.0
    drop_seconds = 5.0
    far_fraction = Decimal("0.02")
    tick: Decimal | None = None  # the smallest step of a price; None: by the instrument's digits

    adapter: BrokerAdapter
    spec: ConnectionSpec
    symbol: str
    quantity: Decimal
    unavailable: Mapping[HarnessFeature | InjectedFault, str]

    async def quote(self) -> Quote:
        """Return the current price. Raises ReadFailed, or NotApplicable if there is no quote."""
        if self.adapter.capabilities(self.spec).quotes:
            return await self.adapter.quote(self.spec, self.symbol)
        raise NotApplicable("the adapter provides no prices")

    async def accepted(self, client_order_id: str) -> int:
        """Return how often the broker accepted an order with this id. Needs JOURNAL."""
        raise NotImplementedError

    async def journal(self) -> Sequence[JournalEntry]:
        """Return every order with an id of ours that the broker accepted, in its order, without
        the stops and targets of positions. Needs JOURNAL; ENGINE checks use it."""
        raise NotImplementedError

    async def stops(self) -> Sequence[Decimal]:
        """Return the prices of the stops of positions that the broker holds now. Needs JOURNAL;
        ENGINE checks use it."""
        raise NotImplementedError

    async def move(self, factor: Decimal) -> None:
        """Move the price to `factor` times the first one; return when the broker uses it.

        Needs PRICES.
        """
        raise NotImplementedError

    async def gap(self, factor: Decimal) -> None:
        """Move the price to `factor` times the first one, after the adapter's last price check.

        The next order meets that price. If the adapter checks no price before it sends, this is the
        same as `move`. Raises NotApplicable if the broker enforces no worst price, or the harness
        cannot move the price at that moment. Needs PRICES.
        """
        if self.adapter.capabilities(self.spec).keeps_worst_price:
            raise NotApplicable("the price cannot move between the adapter's check and the fill")
        await self.move(factor)

    async def second_account(self) -> ConnectionSpec:
        """Return another account at the same broker, for the same adapter. Needs
        SECOND_ACCOUNT."""
        raise NotImplementedError

    async def with_mistake(self, mistake: HarnessFeature) -> ConnectionSpec:
        """Return the connection with one wrong value. mistake: PASSWORD, HOST or ACCOUNT, which it
        needs."""
        raise NotImplementedError

    async def new_process(self) -> None:
        """Simulate a restart of our process: `adapter` is a new object. Needs NEW_PROCESS."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Restart the broker; it keeps its books. Needs RESTART."""
        raise NotImplementedError

    async def owner_closes(self, broker_position_id: str) -> None:
        """Close a position as the account's owner would, at the broker. Needs OWNER."""
        raise NotImplementedError

    async def book_cash(self, amount: Decimal) -> None:
        """Make a deposit, or a withdrawal if the amount is below 0. Needs CASH."""
        raise NotImplementedError

    async def execute_again(self, request: OrderRequest) -> None:
        """Make the broker execute a market order again, with the same id. Needs EXECUTED_TWICE."""
        raise NotImplementedError

    async def begin(self, fault: InjectedFault) -> None:
        """Start a fault. Needs that fault."""
        raise NotImplementedError

    async def half_reply(self) -> Sequence[str]:
        """Return texts from the half of the reply that was sent under HALF_REPLY.

        The outcome must quote them. Raises NotApplicable if the adapter receives none of it. Needs
        HALF_REPLY.
        """
        raise NotApplicable("the harness does not report which half it sent")

    async def clear(self, placed: Sequence[OrderRequest]) -> None:
        """Undo what a check placed. Does nothing if the harness is discarded after each check."""

    async def end(self) -> None:
        """End all faults: the broker works normally again."""
