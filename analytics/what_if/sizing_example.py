"""An example of a preset in money: what an account would trade now, by the engine's own rules.

The entry is decided as a claim decides it (`evaluate.decide_entry`), with the account's balance,
what it holds, its broker's steps and the current prices, and with the preset as it is being edited.
Nothing is written. Why the account does not trade at the moment (a pause, a test that is missing)
is left out: the example shows sizes and limits.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from brokers.registry import capabilities_of
from common.clocks import market_now
from common.db.sql import rows
from common.errors import InvalidInputError
from common.limit_figures import Figures
from common.money import to_stored
from common.reason_codes import Code
from common.units import Unit, size_of
from connections.models import Instrument, TradingPreset
from connections.selectors import (
    contract_size_sql,
    listed_pairs_sql,
    spec_without_credentials,
)
from execution.submission.bundle_evaluation import (
    load_evaluation_context,
    load_exposures,
)
from execution.submission.claim_sql import ACCOUNT_JOINS, ORDER_COLUMNS
from execution.submission.evaluate import decide_entry
from execution.submission.outcomes import SIDES, EvaluationContext, Intent, touch_price
from execution.submission.quotes import missing_price
from execution.submission.risk import PortfolioExposure
from execution.submission.rows import OrderRow, OwnerTerms, SignalRow
from execution.submission.sizing import Denial
from signals.models import RiskCategory
from signals.symbols import slippage_unit

NOT_STORED = 2**62  # above the id of every stored order
MOST_PAIRS = 200


# The fields of LoadedOrder, then what the account's broker lists: one statement, as each page
# sends few.
LOAD = f"""
WITH orders AS (
  SELECT {NOT_STORED}::bigint AS id, 0::bigint AS signal_id, 'entry' AS leg,
    %(connection)s::uuid AS connection_id, %(pair)s::text AS pair, 2 AS priority,
    %(side)s::text AS side, 'MARKET' AS order_type, 'IOC' AS time_in_force,
    NULL::numeric AS limit_price, NULL::numeric AS stop_price, 'PENDING' AS status, '' AS reason,
    clock_timestamp() AS due_at, NULL::uuid AS routed_from_id, '' AS route_state,
    NULL::uuid AS oco_group, false AS awaits_condition, false AS has_exit_condition,
    NULL::bigint AS position_id, '' AS symbol, NULL::numeric AS quantity,
    NULL::numeric AS requested_quantity, NULL::numeric AS own_stop_loss,
    NULL::numeric AS own_take_profit, NULL::timestamptz AS own_valid_until, 0 AS attempt,
    0 AS send_retries, NULL::text AS client_order_id, '' AS pending_action,
    NULL::timestamptz AS retried_at, clock_timestamp() AS created_at, false AS oco_fired
)
SELECT {ORDER_COLUMNS},
  {contract_size_sql("c.instrument_book", "%(pair)s::text")} AS contract_size,
  {listed_pairs_sql("c.instrument_book", MOST_PAIRS)} AS pairs
FROM orders o
CROSS JOIN (SELECT 0::bigint AS feed_id, %(pair)s::text AS currency_pair,
  %(market_now)s::timestamptz AS published_at) s
{ACCOUNT_JOINS}
"""


class Asked(NamedTuple):
    """The entry of an example. stop: how far it is away, in the unit; None: it has none.

    unit: None: that of the symbol's distances, pips for currencies and metals, else basis points.
    """

    pair: str
    side: str = "BUY"
    stop: Decimal | None = Decimal(30)
    category: str = RiskCategory.NORMAL
    provider_quantity: Decimal | None = None
    unit: Unit | None = None

    @property
    def stop_unit(self) -> Unit:
        return self.unit or slippage_unit(self.pair)


@dataclass(frozen=True, slots=True)
class Example:
    """What would be sent, or why it would not be. Money: account currency; quantity: base units.

    denial: with its figures. lots: of the broker's contract size. pairs: that the broker lists, the
    first MOST_PAIRS.
    """

    pair: str
    currency: str
    equity: Decimal | None
    balance: Decimal | None
    quantity: Decimal | None = None
    lots: Decimal | None = None
    calculated: Decimal | None = None
    risk: Decimal | None = None
    margin: Decimal | None = None
    price: Decimal | None = None
    stop: Decimal | None = None
    notional: Decimal | None = None
    step: Decimal | None = None
    minimum: Decimal | None = None
    warning: str = ""
    denial: Denial | None = None
    waits: Code | None = None
    pairs: tuple[str, ...] = ()

    @property
    def code(self) -> Code | None:
        """Why nothing would be sent now; None: it would."""
        return self.denial.code if self.denial else self.waits

    @property
    def sentence(self) -> str:
        """Why nothing would be sent, for people; the denial's own detail is more exact."""
        own = self.denial.detail if self.denial else ""
        return f"{own.rstrip('.')}." if own else (self.code.sentence if self.code else "")

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.code.hint if self.code else ""

    @property
    def figures(self) -> Figures | None:
        """The value that broke a limit, and the limit; None without any."""
        return self.denial.figures(self.pair, self.currency) if self.denial else None

    @property
    def risk_percent(self) -> Decimal | None:
        """The risk in percent of equity."""
        return self.risk * 100 / self.equity if self.risk is not None and self.equity else None


def sizing_example(preset: TradingPreset, connection_id: UUID, asked: Asked) -> Example:
    """Decide an entry on an account with a preset, which may be unsaved. Reads; writes nothing.

    The caller checks that the account is the user's own, and that the preset has no faults.
    """
    parameters = {
        "connection": connection_id, "pair": asked.pair, "side": asked.side,
        "market_now": market_now(),
    }  # fmt: skip
    [loaded] = rows(LOAD, parameters)
    row = _with_preset(loaded, preset)
    signal = _signal(asked)
    context = load_evaluation_context([row], {0: signal})
    levels = _levels(row, context, asked)
    context = replace(context, signals={0: signal._replace(sl=levels.stop)})
    spec = spec_without_credentials(row)
    exposure = _exposure_of(row, context)
    decision = decide_entry(row, context, exposure, capabilities_of(row.type, spec))
    shown = Example(
        asked.pair, row.currency or "", row.equity, row.balance, price=levels.price,
        stop=levels.stop, step=levels.step, minimum=levels.minimum, pairs=tuple(loaded.pairs),
    )  # fmt: skip
    if isinstance(decision, Intent):
        return replace(shown, **_sent(decision, loaded.contract_size))
    if isinstance(decision, Denial):
        return replace(shown, denial=decision)
    return replace(shown, waits=getattr(decision, "code", None) or Code.AWAITING_TRIGGER)


def example_pairs(book: str) -> list[str]:
    """Return the pairs that an account's broker lists, for a choice where there is no example."""
    listed = Instrument.objects.filter(book=book or None, is_preferred=True)
    return list(listed.order_by("pair").values_list("pair", flat=True)[:MOST_PAIRS])


def _exposure_of(row: OrderRow, context: EvaluationContext) -> PortfolioExposure:
    """Return what the account holds; without a price nothing is compared with it, so none."""
    if missing_price(row, context):
        return PortfolioExposure()
    exposures, _ = load_exposures([row], [row.connection_id])
    return exposures.get(row.connection_id, PortfolioExposure())


class _Levels(NamedTuple):
    price: Decimal | None = None
    stop: Decimal | None = None
    step: Decimal | None = None
    minimum: Decimal | None = None


def _levels(row: OrderRow, context: EvaluationContext, asked: Asked) -> _Levels:
    """Return the price of now and the stop, as far as they are known."""
    instrument = context.instruments.get((row.instrument_book, row.pair))
    quote = context.quotes_of(row).get(row.pair)
    if instrument is None:
        return _Levels()
    sizes = (instrument.quantity_step, instrument.quantity_min)
    if quote is None:
        return _Levels(None, None, *sizes)
    side = SIDES[row.side]
    price = touch_price(quote, side)
    if asked.stop is None:
        return _Levels(price, None, *sizes)
    pip = instrument.pip
    distance = asked.stop * size_of(asked.stop_unit, price=price, pip=pip, tick=pip)
    stop = to_stored(price - distance * side.sign)
    if stop <= 0:
        raise InvalidInputError(
            Code.FIELD_INVALID, "The stop would be at or below zero.", field="stop_pips"
        )
    return _Levels(price, stop, *sizes)


def _with_preset(loaded: Any, preset: TradingPreset) -> OrderRow:
    """Return the order with an unsaved preset's terms instead of the stored one's."""
    own = {name: getattr(loaded, name) for name in OrderRow._fields if name != "terms"}
    set_here: dict[str, Any] = {
        name: None if name.startswith("own_") else getattr(preset, name)
        for name in OwnerTerms._fields
    }
    terms = OwnerTerms(**{**set_here, "decision_provider_id": None})
    return OrderRow(**own, terms=terms)._replace(
        preset_id=preset.pk, is_active=True, is_paused=False, pause_code=None,
        subscription_code="", limiting_subscription_id=None, signal_id=0,
    )  # fmt: skip


def _signal(asked: Asked) -> SignalRow:
    return SignalRow(
        id=0, feed_id=0, direction=asked.side, order_type="MARKET", open_price=None,
        trail_distance=None, trail_pips=None, trail_percent=None, activation_price=None,
        published_at=market_now(), valid_until=None, max_slippage_pips=None, max_slippage_unit="",
        max_spread=None, max_spread_unit="", risk_category=asked.category,
        provider_quantity=asked.provider_quantity, provider_equity=None, provider_currency="",
        cancelled_at=None, max_signal_notional=None, max_signal_currency="", sl=None,
        target_prices=[], target_fractions=[], is_closed=False,
    )  # fmt: skip


def _sent(intent: Intent, size: Decimal | None) -> dict[str, Any]:
    return {
        "quantity": intent.quantity,
        "lots": intent.quantity / size if size else None,
        "calculated": intent.unrounded_quantity,
        "risk": intent.risk,
        "margin": intent.margin,
        "notional": intent.quantity * intent.expected_price * intent.rate,
        "warning": intent.warning,
    }
