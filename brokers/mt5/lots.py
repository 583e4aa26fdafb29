"""Lots and base units, prices and points: an instrument as the terminal tells it. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers import price_rounding
from brokers.base import Rejected
from brokers.mt5.constants import Execution, Filling, FillingMask, LifetimeMask, TradeMode
from brokers.types import Instrument, OrderType, Side, TimeInForce
from common.reason_codes import Code

FOREX = frozenset({0, 5})  # SYMBOL_CALC_MODE_FOREX, SYMBOL_CALC_MODE_FOREX_NO_LEVERAGE


def decimal(value: float) -> Decimal:
    """Return what a double stands for: MetaTrader keeps 8 digits behind the point."""
    return Decimal(str(round(value, 8))).normalize() + 0


def level(value: float) -> Decimal | None:
    """Return a stop or target; 0.0 is how the terminal says that there is none."""
    return decimal(value) if value else None


@dataclass(frozen=True, slots=True)
class Lots:
    """How one symbol counts. `info`: the terminal's SymbolInfo."""

    info: Any

    @property
    def contract(self) -> Decimal:
        return decimal(self.info.trade_contract_size)

    def base(self, lots: float) -> Decimal:
        """Return lots as base units."""
        return decimal(lots) * self.contract

    def of(self, quantity: Decimal) -> float:
        """Return base units as lots. Raises Rejected if they are none that the symbol takes: what
        is sent is what was decided, never something near it."""
        lots = quantity / self.contract
        minimum, step = decimal(self.info.volume_min), decimal(self.info.volume_step)
        if not minimum <= lots <= decimal(self.info.volume_max) or lots % step:
            raise Rejected(
                Code.VOLUME_INVALID,
                f"{lots.normalize():f} lots; {minimum:f} to {self.info.volume_max:g} by {step:f}",
            )
        return float(lots)

    @property
    def tick(self) -> Decimal:
        """The smallest step of its price, which may be several points."""
        return max(decimal(self.info.trade_tick_size), decimal(self.info.point))

    @property
    def stops_distance(self) -> Decimal:
        """How far from the price a stop or target must lie at least."""
        return max(decimal(self.info.trade_stops_level * self.info.point), self.tick)

    def price(self, price: Decimal | None, side: Side, order_type: OrderType) -> float:
        """Return the price of a waiting order in whole ticks; 0.0 for none. Raises Rejected."""
        return self._as_text(
            price and price_rounding.round_entry_price(price, self.tick, side, order_type)
        )

    def level(self, price: Decimal | None, side: Side) -> float:
        """The same of a stop or target; side: the position's. Raises Rejected."""
        return self._as_text(price and price_rounding.round_level_price(price, self.tick, side))

    def _as_text(self, price: Decimal | None) -> float:
        if price is not None and price <= 0:  # 0.0 would take a level away
            raise Rejected(Code.PRICE_INVALID, f"less than a tick of {self.tick:f}")
        return float(price) if price is not None else 0.0

    def points(self, distance: Decimal) -> int:
        """Return a distance as whole points, rounded down."""
        return int(distance / decimal(self.info.point))

    def filling(self, time_in_force: TimeInForce) -> Filling:
        """Return how a market order may be filled. Raises Rejected if the symbol allows none.

        Source: the table of filling types by execution mode, mql5.com/en/docs/constants/
        tradingconstants/orderproperties. The symbol's mask (FOK 1, IOC 2) is not the order's
        enumeration (FOK 0, IOC 1, RETURN 2). Where the rest of a partly filled order may neither
        stay nor be cancelled (FOK), that is stricter than IOC and taken for it.
        """
        mask, mode = FillingMask(self.info.filling_mode & 3), self.info.trade_exemode
        if mode in (Execution.REQUEST, Execution.INSTANT):
            return Filling.FOK
        if time_in_force is not TimeInForce.FOK and FillingMask.IOC in mask:
            return Filling.IOC
        if FillingMask.FOK in mask:
            return Filling.FOK
        if mode == Execution.EXCHANGE and time_in_force in (TimeInForce.GTC, TimeInForce.DAY):
            return Filling.RETURN
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{time_in_force} on {self.info.name}")

    def keeps_deviation(self) -> bool:
        """Whether the server fills a market order within its deviation, or not at all.

        Source: the fields of a request by execution mode (mql5.com/en/docs/constants/structures/
        mqltraderequest): price and deviation belong to request and instant execution; with market
        and exchange execution the server fills at the price that it has.
        """
        return self.info.trade_exemode in (Execution.REQUEST, Execution.INSTANT)

    def bounded_filling(self) -> Filling | None:
        """Return how a limit order at the worst price is filled at once or ends; None: the symbol
        takes none such.

        Source: metatrader5.com/en/terminal/help/trading/general_concept, "Types of orders": only
        in exchange execution is the price of a limit order not verified; beyond the market it is
        executed at once, at a price no worse than its own. In all other modes a buy limit above the
        ask is refused (10015). RETURN would leave the rest in the book, so it is not taken.
        """
        if self.info.trade_exemode != Execution.EXCHANGE:
            return None
        if not self.may_work(OrderType.LIMIT, TimeInForce.GTC):
            return None
        mask = FillingMask(self.info.filling_mode & 3)
        if FillingMask.IOC in mask:
            return Filling.IOC
        return Filling.FOK if FillingMask.FOK in mask else None

    def may_work(self, order_type: OrderType, time_in_force: TimeInForce) -> bool:
        """Whether a pending order may have this time in force here: until cancelled or today."""
        mask = LifetimeMask(self.info.expiration_mode & 3)
        needed = {TimeInForce.GTC: LifetimeMask.GTC, TimeInForce.DAY: LifetimeMask.DAY}
        return (
            order_type is not OrderType.MARKET
            and time_in_force in needed
            and needed[time_in_force] in mask
        )

    def instrument(self, pair: str = "") -> Instrument:
        """pair: the owner's word for it, else what the symbol's currencies say."""
        info, point = self.info, decimal(self.info.point)
        return Instrument(
            symbol=info.name,
            pair=pair or pair_of(info),
            digits=info.digits,
            pip=point * 10 if info.digits in (3, 5) else point,
            quantity_min=self.base(info.volume_min),
            quantity_step=self.base(info.volume_step),
            quantity_max=self.base(info.volume_max),
            contract_size=self.contract,
            stops_level=info.trade_stops_level * point,
            tick=self.tick,
        )


def pair_of(info: Any) -> str:
    """Return BASE/QUOTE: of a currency pair or metal its two currencies, of anything else its name
    without what the broker hung on it, and the currency of its profit."""
    base, quote, name = info.currency_base, info.currency_profit, info.name
    if info.trade_calc_mode in FOREX or name.upper().startswith(f"{base}{quote}"):
        return f"{base}/{quote}"
    return f"{name.lstrip('#.').split('.')[0].split('-')[0]}/{quote}"


def is_tradable(info: Any) -> bool:
    """Whether positions can be opened in it at all."""
    return info.trade_mode not in (TradeMode.DISABLED, TradeMode.CLOSE_ONLY)
