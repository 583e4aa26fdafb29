"""Convert lots to base units and prices to points, by the terminal's data of a symbol. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any

from brokers import price_rounding
from brokers.base import ReadFailed, Rejected
from brokers.mt5.constants import (
    Execution,
    Filling,
    FillingMask,
    LifetimeMask,
    OrderMask,
    TradeMode,
)
from brokers.types import Instrument, OrderRequest, OrderType, Side, TimeInForce
from common.reason_codes import Code

FOREX = frozenset({0, 5})  # SYMBOL_CALC_MODE_FOREX, SYMBOL_CALC_MODE_FOREX_NO_LEVERAGE

LIFETIME_MASKS = {
    TimeInForce.GTC: LifetimeMask.GTC,
    TimeInForce.GTD: LifetimeMask.SPECIFIED,
    TimeInForce.DAY: LifetimeMask.DAY,
}
ORDER_MASKS = {
    OrderType.LIMIT: OrderMask.LIMIT,
    OrderType.STOP: OrderMask.STOP,
    OrderType.STOP_LIMIT: OrderMask.STOP_LIMIT,
}


class UnlistedSymbolError(ReadFailed):
    """Nothing states how much a lot of a symbol is: the broker has renamed or removed it, or the
    terminal does not have its data yet."""


def is_number(value: float | None) -> bool:
    """Whether it is a finite number: what is none comes from the package's process as None."""
    return value is not None and isfinite(value)


def decimal(value: float) -> Decimal:
    """Return a double as a decimal: MetaTrader keeps 8 digits behind the point. Raises ValueError
    for what is no number: it would pass every comparison."""
    if not is_number(value):
        raise ValueError(f"not a number: {value}")
    return Decimal(str(round(value, 8))).normalize() + 0


def is_price(value: float) -> bool:
    """Whether a terminal has a price: it writes none as 0.0."""
    return is_number(value) and value > 0


def cost(value: float) -> Decimal:
    """Return what a deal has cost; 0 for what is no number: the deal itself is one."""
    return decimal(value) if is_number(value) else Decimal(0)


def level(value: float) -> Decimal | None:
    """Return a stop or target; None for 0.0, which means that there is none."""
    return decimal(value) if value and is_number(value) else None


@dataclass(frozen=True, slots=True)
class Lots:
    """The units and limits of one symbol. `info`: the terminal's SymbolInfo."""

    info: Any

    @property
    def states_size(self) -> bool:
        """Whether the terminal has the symbol's data: of one that it has not synchronised yet all
        numbers are 0, and what is held of it would count as closed."""
        return is_price(self.info.trade_contract_size)

    @property
    def contract(self) -> Decimal:
        """Base units in one lot."""
        return decimal(self.info.trade_contract_size)

    def base(self, lots: float) -> Decimal:
        """Return lots as base units."""
        return decimal(lots) * self.contract

    def of(self, quantity: Decimal, *, is_exit: bool = False) -> float:
        """Return base units as lots. Raises Rejected unless the symbol allows exactly this volume:
        we never send a rounded one. The server judges an exit's: its limits may have changed."""
        lots = quantity / self.contract
        if is_exit and lots.is_finite() and lots > 0:
            return float(lots)
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
        """Minimum distance of a stop or target from the price."""
        return max(decimal(self.info.trade_stops_level * self.info.point), self.tick)

    def price(self, price: Decimal | None, side: Side, order_type: OrderType) -> float:
        """Return the price of a pending order in whole ticks; 0.0 for none. Raises Rejected."""
        return self._encode(
            price and price_rounding.round_entry_price(price, self.tick, side, order_type)
        )

    def level(self, price: Decimal | None, side: Side) -> float:
        """Return a stop or target in whole ticks; side: the position's. Raises Rejected."""
        return self._encode(price and price_rounding.round_level_price(price, self.tick, side))

    def _encode(self, price: Decimal | None) -> float:
        if price is not None and price <= 0:  # 0.0 would remove a level
            raise Rejected(Code.PRICE_INVALID, f"less than a tick of {self.tick:f}")
        return float(price) if price is not None else 0.0

    def points(self, distance: Decimal) -> int:
        """Return a distance as whole points, rounded down."""
        return int(distance / decimal(self.info.point))

    def filling(self, time_in_force: TimeInForce) -> Filling:
        """Return how a market order may be filled. If the symbol's data allow nothing, the server
        decides (`other_fillings`).

        Source: the table of filling types by execution mode, mql5.com/en/docs/constants/
        tradingconstants/orderproperties. The symbol's mask (FOK 1, IOC 2) is not the order's
        enumeration (FOK 0, IOC 1, RETURN 2). If a symbol allows FOK but not IOC, FOK is used for
        IOC, since it is stricter.
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
        return Filling.FOK if time_in_force is TimeInForce.FOK else Filling.IOC

    def other_fillings(self, request: OrderRequest, refused: int) -> list[Filling]:
        """Return what else to try of an order whose filling type the server has refused: first what
        the symbol's data allow, which are not always what the server accepts.

        An order that fills at once or not at all never becomes one that fills in part, nor one that
        ends at once a working one: so at an exchange, where it counts at once, a pending order has
        no other. Market execution has no RETURN.
        """
        is_pending = request.order_type is not OrderType.MARKET
        if is_pending and self.info.trade_exemode == Execution.EXCHANGE:
            return []
        wanted, mask = request.time_in_force, FillingMask(self.info.filling_mode & 3)
        at_once = request.order_type is OrderType.MARKET and request.worst_price is not None
        usable = [Filling.FOK]
        if wanted is not TimeInForce.FOK:
            usable.append(Filling.IOC)
        lasts = wanted not in (TimeInForce.FOK, TimeInForce.IOC) and not at_once
        if lasts and (is_pending or self.info.trade_exemode != Execution.MARKET):
            usable.append(Filling.RETURN)
        bits = {Filling.FOK: FillingMask.FOK, Filling.IOC: FillingMask.IOC}
        usable.sort(key=lambda one: one not in bits or bits[one] not in mask)
        return [filling for filling in usable if filling != refused]

    def keeps_deviation(self) -> bool:
        """Whether the server fills a market order within its deviation, or not at all.

        Source: the fields of a request by execution mode (mql5.com/en/docs/constants/structures/
        mqltraderequest): price and deviation belong to request and instant execution; with market
        and exchange execution the server fills at the price that it has.
        """
        return self.info.trade_exemode in (Execution.REQUEST, Execution.INSTANT)

    def bounded_filling(self) -> Filling | None:
        """Return the filling type of a limit order that fills at once or ends; None: the symbol
        allows none.

        Source: metatrader5.com/en/terminal/help/trading/general_concept, "Types of orders": only
        in exchange execution is the price of a limit order not verified; beyond the market it is
        executed at once, at a price no worse than its own. In all other modes a buy limit above the
        ask is rejected (10015). RETURN would leave the remainder in the book, so it is not used.
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
        """Whether a pending order may have this time in force here: GTC, GTD or DAY."""
        mask = LifetimeMask(self.info.expiration_mode & 7)
        return (
            order_type is not OrderType.MARKET
            and time_in_force in LIFETIME_MASKS
            and LIFETIME_MASKS[time_in_force] in mask
        )

    def allows(self, order_type: OrderType) -> bool:
        """Whether the symbol allows pending orders of this type."""
        return ORDER_MASKS[order_type] in OrderMask(self.info.order_mode & 14)

    def instrument(self, pair: str = "") -> Instrument:
        """Return the instrument. pair: by the owner's settings; '': derived from the symbol.

        Raises ValueError for one whose data the terminal does not have."""
        info, point = self.info, decimal(self.info.point)
        if not (self.states_size and is_price(info.volume_step) and point > 0):
            raise ValueError(f"the terminal has no data of {info.name} yet")
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
            freeze_level=info.trade_freeze_level * point,
            tick=self.tick,
            exchange=getattr(info, "exchange", ""),
        )


def pair_of(info: Any) -> str:
    """Return BASE/QUOTE: the two currencies of a currency pair or metal; for any other symbol, its
    name without the broker's prefix and suffix, and the currency of its profit."""
    base, quote, name = info.currency_base, info.currency_profit, info.name
    if info.trade_calc_mode in FOREX or name.upper().startswith(f"{base}{quote}"):
        return f"{base}/{quote}"
    return f"{name.lstrip('#.').split('.')[0].split('-')[0]}/{quote}"


def is_tradable(info: Any) -> bool:
    """Whether positions can be opened in it at all."""
    return info.trade_mode not in (TradeMode.DISABLED, TradeMode.CLOSE_ONLY)
