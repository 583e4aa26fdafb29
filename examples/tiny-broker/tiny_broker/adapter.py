"""The adapter for Tiny, which executes market orders at once and closes by position."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
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
    OrderReport,
    OrderRequest,
    OrderType,
    PositionMode,
    Quote,
    TimeInForce,
)
from common.reason_codes import Code
from tiny_broker import parse
from tiny_broker.client import PORT, LoginRefused, NoAnswer, NotReached, call

T = TypeVar("T")
SKEW = timedelta(seconds=5)
UNREADABLE = (KeyError, ValueError, TypeError, ArithmeticError)  # what tiny_broker.parse raises

FORM = Form(
    label="Tiny",
    account="As on Tiny's statement, such as A1.",
    settings=(
        Setting("host", "Host", "tiny.example.com", SettingType.HOST, required=True),
        Setting("port", "Port", "", SettingType.WHOLE, default=PORT, minimum=1, maximum=65535),
    ),
    secrets=(Secret("password", "Password", "The password that allows trading."),),
)


def create() -> "TinyAdapter":
    """Return a new adapter; the entry point names this function."""
    return TinyAdapter()


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account supports; at Tiny all accounts are equal."""
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


class TinyAdapter(AdapterBase):
    """All Tiny accounts of one process. It keeps no state between two calls."""

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
        message = {
            "do": "place", "id": request.client_order_id, "symbol": request.symbol,
            "side": request.side.value, "quantity": str(request.quantity),
            "position": request.broker_position_id,
        }  # fmt: skip
        try:
            reply = await call(spec, message, lambda: guard(request))
        except NotReached as error:
            raise NotSent(Code.NOT_CONNECTED, str(error)) from error
        except LoginRefused as error:  # nothing was sent; an unlisted error is not final
            if code := parse.CODES.get(str(error)):
                raise Rejected(code, str(error)) from error
            raise NotSent(Code.NOT_CONNECTED, f"{error} is not listed") from error
        except NoAnswer as error:
            raise OutcomeUnknown(Code.REPLY_LOST, str(error)) from error
        if "error" in reply:
            if code := parse.CODES.get(str(reply["error"])):
                raise Rejected(code, str(reply.get("text", "")))
            raise OutcomeUnknown(Code.REPLY_LOST, f"{reply['error']} is not listed")
        try:
            return [parse.order(spec.connection_id, reply["order"])]
        except UNREADABLE as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"not understood: {reply!r:.500}") from error

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        raise Rejected(Code.NOT_SUPPORTED, "Tiny has no working orders")

    # ---- reads ----------------------------------------------------------------------------
    async def connect(self, spec: ConnectionSpec) -> None:
        await self.account(spec)  # there is no session; this only raises what is wrong

    async def account(self, spec: ConnectionSpec) -> AccountState:
        return await _read(
            spec, {"do": "account"}, lambda reply: parse.account(spec.account, reply["account"])
        )

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        return await _read(
            spec,
            {"do": "symbols"},
            lambda reply: [parse.instrument(item) for item in reply["symbols"]],
        )

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        message = {"do": "price", "symbol": symbol}
        return await _read(spec, message, lambda reply: parse.quote(reply["price"]))

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        def read(reply: dict[str, Any]) -> list[OrderReport] | None:
            order = reply["order"]  # null: Tiny confirms that it does not have the order
            return None if order is None else [parse.order(spec.connection_id, order)]

        return await _read(spec, {"do": "order", "id": client_order_id}, read)

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        return await _read(
            spec,
            {"do": "positions"},
            lambda reply: [parse.position(item) for item in reply["positions"]],
        )

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        return []

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        return await _read(
            spec,
            {"do": "orders", "since": since.isoformat()},
            lambda reply: [parse.order(spec.connection_id, item) for item in reply["orders"]],
        )

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Return one check for each possible problem, with what the owner should do."""
        try:
            state = await self.account(spec)
        except ReadFailed as error:
            name = "reach" if error.code is Code.BROKER_UNREACHABLE else "login"
            detail = f"{error.code.sentence} {error.detail}".strip()
            return [Check(name, CheckResult.FAIL, detail, error.code.hint)]
        skew = abs(state.time - datetime.now(UTC))
        clock = f"{skew.total_seconds():.0f} s from Tiny's"
        return [
            Check("login", CheckResult.OK, f"{state.account} in {state.currency}"),
            Check("position mode", CheckResult.OK, state.position_mode),
            Check("clock", CheckResult.WARN, clock, "Set this machine's clock by NTP.")
            if skew > SKEW
            else Check("clock", CheckResult.OK, clock),
        ]


def _check(request: OrderRequest) -> None:
    """Check what Tiny would silently ignore in a request. Raises Rejected."""
    if request.order_type not in CAN.order_types or request.time_in_force not in CAN.times_in_force:
        order_type = f"{request.order_type} {request.time_in_force}"
        raise Rejected(Code.ORDER_TYPE_UNSUPPORTED, f"{order_type} is not offered")
    if request.stop_loss is not None or request.take_profit is not None:
        raise Rejected(Code.STOPS_INVALID, "Tiny keeps no stops")


async def _read(
    spec: ConnectionSpec, message: dict[str, Any], read: Callable[[dict[str, Any]], T]
) -> T:
    """Send a request that changes nothing, and parse the reply. Raises ReadFailed."""
    try:
        reply = await call(spec, message)
    except (NotReached, NoAnswer) as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
    except LoginRefused as error:
        raise _failed(error, "") from error
    if "error" in reply:
        raise _failed(reply["error"], str(reply.get("text", "")))
    try:
        return read(reply)
    except UNREADABLE as error:
        raise ReadFailed(Code.BROKER_UNREACHABLE, f"not understood: {reply!r:.500}") from error


def _failed(error: object, text: str) -> ReadFailed:
    """Return the failure for one of Tiny's errors. An unlisted error counts as unreachable, since
    it does not prove that the password is wrong.
    """
    code = parse.CODES.get(str(error), Code.BROKER_UNREACHABLE)
    return ReadFailed(code, f"{error} {text}".strip())
