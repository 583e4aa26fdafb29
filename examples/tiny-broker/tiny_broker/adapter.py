"""The adapter: accounts at Tiny, which executes market orders at once and closes by position."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from brokers.account_capabilities import Capabilities
from brokers.base import (
    Guard,
    NotSent,
    OnOutcome,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    submit_each,
    unsupported_stream,
)
from brokers.connection_form import Form, Secret, Setting, SettingType
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Check,
    CheckResult,
    ConnectionSpec,
    ExitSafety,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    Quote,
    TimeInForce,
    WhatIf,
)
from common.reason_codes import Code
from tiny_broker import parse
from tiny_broker.line import PORT, Away, LoginRefused, NoAnswer, ask

T = TypeVar("T")
SKEW = timedelta(seconds=5)
NONSENSE = (KeyError, ValueError, TypeError, ArithmeticError)

FORM = Form(
    label="Tiny",
    account="As on Tiny's statement: A1.",
    settings=(
        Setting("host", "Host", "tiny.example.com", SettingType.HOST, required=True),
        Setting("port", "Port", "", SettingType.WHOLE, default=PORT, least=1, most=65535),
    ),
    secrets=(Secret("password", "Password", "The one that may trade."),),
)


def create() -> "TinyAdapter":
    """Make the adapter; the entry point names this function."""
    return TinyAdapter()


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """What an account can do."""
    return CAN


CAN = Capabilities(
    order_types=frozenset({OrderType.MARKET}),
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}),
    native_stops=False,  # Fillcast watches the stops
    modify=False,
    position_modes=frozenset({PositionMode.HEDGING}),
    partial_close=True,
    event_stream=False,  # polled
    price_stream=False,
    lookup_horizon=timedelta(days=30),
    refuses_repeated_ids=True,
    exit_safety=ExitSafety.TICKET,
    session=False,
    needs_credentials=True,
    fills_horizon=timedelta(days=30),
    quotes=True,
)


class TinyAdapter:
    """All accounts at Tiny of one process. It keeps nothing between two calls."""

    broker_type = "tiny"
    form = FORM

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return capabilities_of(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        return f"tiny {spec.settings['host']}"

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        _check(request)
        words = {
            "do": "place", "id": request.client_order_id, "symbol": request.symbol,
            "side": request.side.value, "quantity": str(request.quantity),
            "position": request.broker_position_id,
        }  # fmt: skip
        try:
            told = await ask(spec, words, lambda: guard(request))
        except Away as error:
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error
        except LoginRefused as error:  # nothing was asked: an unlisted word is no final answer
            if code := parse.CODES.get(str(error)):
                raise Rejected(code, str(error)) from error
            raise NotSent(Code.NOT_CONNECTED, f"{error} is not listed") from error
        except NoAnswer as error:
            raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
        if "error" in told:
            if code := parse.CODES.get(str(told["error"])):
                raise Rejected(code, str(told.get("text", "")))
            raise OutcomeUnknown(Code.REPLY_LOST, f"{told['error']} is not listed")
        try:
            return [parse.order(spec.connection_id, told["order"])]
        except NONSENSE as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"not understood: {told!r:.500}") from error

    async def submit_many(
        self, requests: Sequence[tuple[ConnectionSpec, OrderRequest]], guard: Guard, tell: OnOutcome
    ) -> None:
        await submit_each(self, requests, guard, tell)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        raise Rejected(Code.NOT_SUPPORTED, "no order rests at Tiny")

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        raise Rejected(Code.NOT_SUPPORTED, "Tiny keeps no stops")

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        raise ReadFailed(Code.NOT_SUPPORTED)

    # ---- reads ----------------------------------------------------------------------------
    async def connect(self, spec: ConnectionSpec) -> None:
        await self.account(spec)  # there is no session to keep: say only what is wrong

    async def account(self, spec: ConnectionSpec) -> AccountState:
        return await _read(
            spec, {"do": "account"}, lambda told: parse.account(spec.account, told["account"])
        )

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await _read(
            spec, {"do": "symbols"}, lambda told: [parse.instrument(one) for one in told["symbols"]]
        )

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        words = {"do": "price", "symbol": symbol}
        return await _read(spec, words, lambda told: parse.quote(told["price"]))

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        def reports(told: dict[str, Any]) -> list[OrderReport] | None:
            found = told["order"]  # Tiny says null: it certainly does not have it
            return None if found is None else [parse.order(spec.connection_id, found)]

        return await _read(spec, {"do": "order", "id": client_order_id}, reports)

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return await _read(
            spec,
            {"do": "positions"},
            lambda told: [parse.position(one) for one in told["positions"]],
        )

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return []

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        return await _read(
            spec,
            {"do": "orders", "since": since.isoformat()},
            lambda told: [parse.order(spec.connection_id, one) for one in told["orders"]],
        )

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """One line for each thing that can be wrong, with what its owner should do."""
        try:
            state = await self.account(spec)
        except ReadFailed as error:
            name = "reach" if error.code is Code.BROKER_UNREACHABLE else "login"
            detail = f"{error.code.sentence} {error.detail}".strip()
            return [Check(name, CheckResult.FAIL, detail, error.code.hint)]
        apart = abs(state.time - datetime.now(UTC))
        clock = f"{apart.total_seconds():.0f} s from Tiny's"
        return [
            Check("login", CheckResult.OK, f"{state.account} in {state.currency}"),
            Check("position mode", CheckResult.OK, state.position_mode),
            Check("clock", CheckResult.WARN, clock, "Set this machine's clock by NTP.")
            if apart > SKEW
            else Check("clock", CheckResult.OK, clock),
        ]

    # ---- what Tiny does not tell by itself -------------------------------------------------
    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        return unsupported_stream("Tiny streams no prices")

    def stream_events(self) -> AsyncIterator[None]:
        return unsupported_stream("Tiny is polled")

    async def events(self, limit: int, after: str = "") -> list[OrderReport]:
        return []

    async def acknowledge(self, event_ids: Sequence[str]) -> None:
        pass

    async def clock(self) -> datetime | None:
        return None

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        pass  # nothing is kept open


def _check(request: OrderRequest) -> None:
    """Refuse what Tiny would take for something else. Raises Rejected."""
    if request.order_type not in CAN.order_types or request.time_in_force not in CAN.times_in_force:
        what = f"{request.order_type} {request.time_in_force}"
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{what} is not offered")
    if request.stop_loss is not None or request.take_profit is not None:
        raise Rejected(Code.STOPS_INVALID, "Tiny keeps no stops")


async def _read(
    spec: ConnectionSpec, words: dict[str, Any], read: Callable[[dict[str, Any]], T]
) -> T:
    """Ask something that changes nothing. Raises ReadFailed."""
    try:
        told = await ask(spec, words)
    except (Away, NoAnswer) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
    except LoginRefused as error:
        raise _failed(error, "") from error
    if "error" in told:
        raise _failed(told["error"], str(told.get("text", "")))
    try:
        return read(told)
    except NONSENSE as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"not understood: {told!r:.500}") from error


def _failed(error: object, text: str) -> ReadFailed:
    """What is not listed is not believed: it says neither that the password is wrong, nor why."""
    code = parse.CODES.get(str(error), Code.BROKER_UNREACHABLE)
    return ReadFailed(code, f"{error} {text}".strip())
