"""Size an entry, check what it adds, and build its intent. Pure."""

from decimal import Decimal
from typing import NamedTuple

from brokers.account_capabilities import Capabilities
from brokers.price_rounding import Tick, round_level_price
from brokers.types import ExitSafety, PositionMode
from common.money import plain
from common.reason_codes import Code
from connections.models import SizingMode
from execution.submission import risk, sizing, times_in_force
from execution.submission.entry_prices import PricedEntry
from execution.submission.flow_limits import correlation_warning
from execution.submission.limit_lists import SizedEntry, Subject
from execution.submission.limits import PRICE, SIZE
from execution.submission.outcomes import SIDES, Decision, Deferred, Intent
from execution.submission.recent import NewEntry, RecentRow
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.signal_limits import SignalBudget
from execution.submission.sizing import ONE, Denial


class EntryFigures(NamedTuple):
    """What an entry is sized and limited by, beside its market.

    provider: what the provider traded, for the sizing modes that use it. scale: by what a decision
    provider multiplies the size, before steps and limits. broker_margin: account currency for one
    base unit, if the broker has calculated it. recent: what the account has sent and holds, for
    limits that count it. budget: what the entry may add to its signal, if the feed limits it.
    """

    provider: sizing.ProviderFigures
    scale: Decimal
    broker_margin: Decimal | None
    recent: RecentRow
    budget: SignalBudget | None


def size_and_check(
    entry: PricedEntry, figures: EntryFigures, exposure: risk.PortfolioExposure
) -> Decision:
    """Size an entry and check its limits; an allowed one is added to the exposure.

    The limits of its price were checked. The intent is that of the whole entry, also if it is sent
    in slices.
    """
    loss = _loss_per_unit(entry)
    size = _size(entry, figures, loss)
    if isinstance(size, Denial):
        return size
    row, at, quantity = entry.row, entry.at, size.quantity
    notional = quantity * at.entry * entry.market.rate
    margin = _margin_of(entry, notional)
    if figures.broker_margin is not None:
        margin = quantity * figures.broker_margin
    at_risk = margin if loss is None else loss * quantity
    on_account = risk.Entry(quantity, notional, margin, at_risk, row.pair)
    added = NewEntry(row.pair, at.side.sign, quantity, notional, entry.signal.feed_id)
    sized = SizedEntry(
        row, at.side, on_account, added, quantity, at_risk, quantity * at.entry, exposure,
        figures.recent, figures.budget, entry,
    )  # fmt: skip
    if broken := SIZE.first_broken(Subject.ENTRY, sized):
        return _too_risky_minimum(size, broken) or broken
    warning = correlation_warning(row, added, figures.recent, exposure.flow)
    exposure.add(on_account)
    exposure.flow.add(added)
    exposure.sides.add((row.pair, at.side))
    notes = "; ".join([_raised(size), *notes_of(row, figures.scale, warning)])
    return _intent(
        entry, quantity, margin, at_risk, unrounded=size.unrounded, warning=warning, notes=notes
    )


def next_slice(entry: PricedEntry, quantity: Decimal) -> Decision:
    """Decide a slice of a plan that has begun, by the market alone. quantity: base units."""
    if broken := PRICE.first_broken(Subject.SLICE, entry):
        return broken
    margin = _margin_of(entry, quantity * entry.at.entry * entry.market.rate)
    loss = _loss_per_unit(entry)
    return _intent(entry, quantity, margin, margin if loss is None else loss * quantity)


def notes_of(row: OrderRow, scale: Decimal, warning: str) -> list[str]:
    """Return what the log says of an entry as a whole, beside its quantity and price."""
    notes = [f"scaled by {plain(scale)}"] if scale != ONE else []
    if scale != _scale_used(row, scale):
        notes = [f"not scaled by {plain(scale)}, because its quantity was set by hand"]
    return [*notes, warning] if warning else notes


def _scale_used(row: OrderRow, scale: Decimal) -> Decimal:
    """Return by what an entry is multiplied: a provider may lower a quantity set by hand."""
    return scale if row.requested_quantity is None else min(scale, ONE)


def _loss_per_unit(entry: PricedEntry) -> Decimal | None:
    """Return what one unit loses at the stop, account currency; None without a stop."""
    at = entry.at
    if at.sl is None:
        return None
    return sizing.loss_per_unit(at.entry, at.sl, at.side.sign, entry.market.rate)


def _margin_of(entry: PricedEntry, notional: Decimal) -> Decimal:
    return risk.margin_of(notional, entry.row.leverage, entry.market.instrument.margin_rate)


def _size(entry: PricedEntry, figures: EntryFigures, loss: Decimal | None) -> sizing.Size | Denial:
    row, instrument = entry.row, entry.market.instrument
    assert row.equity is not None  # `eligibility.cannot_trade` denies an account never read
    return sizing.size(
        sizing=_sizing_of(row, entry.signal, figures.scale),
        account=sizing.Account(row.balance, row.equity),
        unit_value=entry.at.entry * entry.market.rate,
        stop_loss_per_unit=loss,
        limits=sizing.QuantityLimits(
            instrument.quantity_min, instrument.quantity_step, instrument.quantity_max
        ),
        provider=figures.provider,
    )


def _sizing_of(row: OrderRow, signal: SignalRow, scale: Decimal) -> sizing.Sizing:
    scale = _scale_used(row, scale)
    if row.requested_quantity is not None:  # by hand
        return sizing.Sizing(SizingMode.FIXED, scale, fixed_quantity=row.requested_quantity)
    multiplier = sizing.multiplier_of(row.terms, signal.risk_category, row.subscription_multiplier)
    return sizing.Sizing(
        mode=row.terms.sizing_mode,
        multiplier=multiplier * scale,
        fixed_quantity=row.terms.fixed_quantity,
        per_balance=row.terms.per_balance,
        percent_of_balance=row.terms.percent_of_balance,
        percent_of_equity=row.terms.percent_of_equity,
        fixed_amount=row.terms.fixed_amount,
        risk_amount=row.terms.risk_amount,
        risk_percent=sizing.risk_percent_of(row.terms, signal.risk_category),
        allow_minimum=row.terms.allow_minimum_quantity,
    )


def _too_risky_minimum(size: sizing.Size, denial: Denial | Deferred) -> Denial | None:
    """Deny a minimum that would risk too much with the code of a size below the minimum."""
    if not (size.is_minimum and isinstance(denial, Denial) and denial.code is Code.TRADE_RISK):
        return None
    detail = (
        f"The minimum would risk {plain(denial.value)} % of equity; the preset allows "
        f"{plain(denial.maximum)} %"
    )
    return Denial(
        Code.QUANTITY_BELOW_MINIMUM, size.unrounded, size.quantity, detail, size.unrounded
    )


def _raised(size: sizing.Size) -> str:
    return f", the minimum; {plain(size.unrounded)} was calculated" if size.is_minimum else ""


def _intent(
    entry: PricedEntry,
    quantity: Decimal,
    margin: Decimal,
    at_risk: Decimal,
    *,
    unrounded: Decimal | None = None,
    warning: str = "",
    notes: str = "",
) -> Intent:
    """Return the intent of a quantity of an entry. notes: what its detail ends with."""
    row, signal, market, capabilities, at, at_market = entry
    stop_loss, take_profit = _levels_at_broker(row, signal, market.instrument.grid, capabilities)
    return Intent(
        symbol=market.instrument.symbol,
        quantity=quantity,
        expected_price=at.entry,
        pip=market.instrument.pip,
        rate=market.rate,
        order_type=row.order_type if at_market else None,
        limit_price=at.limit,
        stop_price=at.stop,
        stop_loss=stop_loss,
        take_profit=take_profit,
        margin=margin,
        risk=at_risk,
        worst_price=at.worst,
        unrounded_quantity=unrounded,
        expires_at=times_in_force.expiry_at_broker(
            row.time_in_force, signal.valid_until, capabilities
        ),
        warning=warning,
        detail=f"{plain(quantity)} at {plain(at.entry)}{notes}{_emulated(entry)}",
    )


def _emulated(entry: PricedEntry) -> str:
    """Return what the engine does for the order because its broker does not, for the log."""
    notes = ""
    if entry.at_market:
        notes = "; sent at market, because this broker refuses a limit that the market has reached"
    if times_in_force.is_emulated(entry.row.time_in_force, entry.capabilities):
        notes += "; GTD is emulated: sent as GTC, Fillcast ends it"
    return notes


def _levels_at_broker(
    row: OrderRow, signal: SignalRow, tick: Tick, capabilities: Capabilities
) -> tuple[Decimal | None, Decimal | None]:
    """Return the stop-loss and take-profit that the broker guards; the engine guards the others.

    A broker holds one target for a whole position, so the engine guards several targets. If
    positions are netted and levels belong to the position, one signal's stop would close the others
    too (docs/adr/0011): the engine guards both levels, and those of a position that slices add to.
    On a hedging account each slice has its own position, and levels (docs/adr/0031).
    """
    if not (capabilities.native_stops and row.terms.broker_holds_stops):
        return None, None
    if signal.execution_style and row.position_mode != PositionMode.HEDGING:
        return None, None
    if row.position_mode == PositionMode.NETTING and capabilities.exit_safety is ExitSafety.TICKET:
        return None, None
    single = len(signal.target_prices) == 1 and signal.target_fractions[0] == 1
    target = signal.target_prices[0] if single else None
    side, sl = SIDES[row.side], signal.sl
    return (
        sl and round_level_price(sl, tick, side),
        target and round_level_price(target, tick, side),
    )
