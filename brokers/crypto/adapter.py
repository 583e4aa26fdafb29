"""Crypto exchanges by ccxt's REST clients, polled. `exchanges.py` has each exchange's rules.

Spot: the balance of a base currency is the position (`spot_positions.py`), an exit is sent after
a read of it (CANCEL_FIRST). Linear perpetuals: exits are reduce-only. Stops and targets rest at the
exchange where `exchanges.py` has `levels` of the market. Elsewhere they are ours to watch.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

from brokers.account_capabilities import Capabilities
from brokers.adapter_base import AdapterBase
from brokers.base import (
    Guard,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    Rejected,
    check_deadline,
    outcome_of,
)
from brokers.crypto import (
    account_identity,
    codes,
    flat_refusals,
    funding,
    history,
    level_changes,
    level_reads,
    lookup,
    margin,
    order_encoding,
    order_stream,
    orders,
    parse,
    prices,
    reads,
    reports,
    spot_level_changes,
)
from brokers.crypto.capabilities import capabilities_of
from brokers.crypto.ccxt_hooks import expires_ms
from brokers.crypto.client import RENEW_SECONDS, Client, ClientPool
from brokers.crypto.connection_checks import run as run_checks
from brokers.crypto.exchanges import ARRIVES_SECONDS, Lookup, rules
from brokers.crypto.form import FORM
from brokers.crypto.guarded_call import GuardedCall, as_current, priority_read
from brokers.crypto.level_orders import LevelName
from brokers.crypto.order_cache import OrderCache
from brokers.crypto.quote_stream import QuoteStream
from brokers.crypto.settings import Settings
from brokers.exit_reads import is_exit_read
from brokers.record_cache import RECORD_CACHE, RecordCache
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
    HeldLevels,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    OrderType,
    Quote,
    ReportKind,
    TimeInForce,
    WhatIf,
)
from brokers.unlisted_refusals import UnlistedRefusal, found_or_refused
from common.clocks import machine_time
from common.reason_codes import Code

T = TypeVar("T")
FOLLOW_UP_SECONDS = 3.0  # to read what the reply to an order lacks; polling reads it too
PROTECT_SECONDS = 4.0  # to place the levels of a new position; else the engine has them placed
FILL_PAUSES = (0.2, 0.4, 0.8)  # seconds before each read of an order whose fill is not listed yet
BRIEF = frozenset({TimeInForce.IOC, TimeInForce.FOK})
LISTED_SECONDS = 5.0  # so long a list that was just loaded, also by another account, is the newest
CHANGE_PAUSES = (0.0, 0.3, 0.7)  # seconds before each read of a changed order


def create() -> "CryptoAdapter":
    """Return the adapter. ccxt is imported when an account is first used; without it, every call
    fails with what to install (LIBRARY_MISSING)."""
    return CryptoAdapter(ClientPool())


class CryptoAdapter(AdapterBase):
    """All exchange accounts of one process."""

    broker_type = "crypto"
    form = FORM

    def __init__(self, clients: ClientPool, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._clients = clients
        self._order_cache = OrderCache(record_cache)

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account can do, by its exchange and its settings."""
        return capabilities_of(spec)

    def instrument_book(self, spec: ConnectionSpec) -> str:
        """Return the same book for accounts of one exchange, market, currency and symbols."""
        settings = Settings.of(spec)
        listed = " ".join((settings.currency, *sorted(settings.symbols)))
        where = f"{spec.exchange_name}{'-sandbox' if settings.sandbox else ''}-{settings.market}"
        return f"{where}-{sha256(listed.encode()).hexdigest()[:16]}"

    # ---- orders ---------------------------------------------------------------------------
    async def submit(
        self, spec: ConnectionSpec, request: OrderRequest, guard: Guard
    ) -> list[OrderReport]:
        """Place one order. Raises NotSent, Rejected or OutcomeUnknown."""
        client = await self._open_for_write(spec, urgent=request.reduce_only)
        mode, ready = client.exit_mode(request.symbol), await self._encoded(client, request)
        if not request.reduce_only:
            await margin.require(client, spec, request.symbol)
        if self._order_cache.was_accepted(spec.connection_id, request.client_order_id):
            return await self._report_existing(spec, request, "it was accepted before")

        def check_and_record() -> None:
            guard(request)
            self._order_cache.record_send(request, expires_ms=expires_ms(client.clock))

        guarded = GuardedCall(
            check_and_record, is_urgent=request.reduce_only, send_by=request.send_by or None
        )
        try:
            order = await orders.send(
                client, spec, guarded, partial(order_encoding.create, client, ready)
            )
        except orders.DuplicateId as error:
            return await self._report_existing(spec, request, str(error))
        except UnlistedRefusal as error:
            client.doubt_markets(unless_since=orders.ENTRY_DOUBT_SECONDS)
            look_up = partial(self.find_order, spec, request.client_order_id, request.symbol)
            found = await found_or_refused(error, look_up, ARRIVES_SECONDS)
            return found + await self._follow_levels(client, spec, request, found)
        except (NotSent, Rejected) as error:
            self._order_cache.record_ended(spec.connection_id, request.client_order_id)
            if isinstance(error, Rejected) and client.settings.market != "spot":
                refused = await flat_refusals.verified(
                    error, request, partial(self._held_now, spec)
                )
                if refused is not error and client.exit_mode(request.symbol) != mode:
                    return await self.submit(spec, request, guard)  # in the position's own mode
                raise refused from error
            raise
        try:
            accepted_order = lookup.require_named(order, request.client_order_id)
        except ValueError as error:
            raise orders.unreadable(guarded, spec, error) from error
        self._order_cache.record_accepted(request, accepted_order)
        found = await self._report_accepted(client, spec, request, accepted_order)
        return found + await self._follow_levels(client, spec, request, found)

    async def _encoded(
        self, client: Client, request: OrderRequest
    ) -> order_encoding.CreateOrderArguments:
        """Return an order in ccxt's words. What is remembered of its market may refuse an entry
        only if that was loaded within the last minute, an exit within some seconds: one list may
        lack its symbol. Raises Rejected."""
        try:
            return order_encoding.encode(client, request)
        except Rejected as error:
            if error.code not in codes.OF_MARKET:
                raise
            believed = LISTED_SECONDS if request.reduce_only else RENEW_SECONDS
            client.doubt_markets(unless_since=believed)
            if not client.is_doubted:
                raise
            if isinstance(await outcome_of(self._clients.renew(client)), Exception):
                raise
        return order_encoding.encode(client, request)

    async def _held_now(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Read the positions within the time of a follow-up, before other reads."""
        async with asyncio.timeout(FOLLOW_UP_SECONDS):
            with as_current(priority_read()):
                return await self._read(spec, reads.positions)

    async def cancel(self, spec: ConnectionSpec, request: CancelRequest) -> list[OrderReport]:
        """Cancel an order and report its state; CANCEL_REFUSED, with its fills, if it had ended
        before. Raises NotSent, Rejected or OutcomeUnknown."""
        client = await self._open_for_write(spec, urgent=True)
        check_and_record = partial(check_deadline, request)
        guarded = GuardedCall(
            check_and_record, is_repeatable=True, is_urgent=True, send_by=request.send_by
        )
        refused = ""
        try:
            await orders.send(
                client, spec, guarded, partial(order_encoding.cancel, client, request)
            )
        except orders.NoSuchOrder as error:
            refused = str(error)
        try:
            reports = await self.find_order(spec, request.client_order_id, symbol=request.symbol)
        except ReadFailed as error:
            raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
        if reports is None:
            raise OutcomeUnknown(Code.REPLY_LOST, "it is neither cancelled nor to be found")
        # One that is still open the exchange may be cancelling (OKX 51410): no refusal of ours.
        has_ended = self._order_cache.has_ended(spec.connection_id, request.client_order_id)
        if refused and has_ended and all(one.kind is ReportKind.FILLED for one in reports):
            last = reports[-1]
            reports = [*reports, OrderReport(ReportKind.CANCEL_REFUSED, spec.connection_id,
                                       request.client_order_id, last.broker_order_id,
                                       detail=refused)]  # fmt: skip
        return reports

    async def change_order(self, spec: ConnectionSpec, request: ChangeRequest) -> list[OrderReport]:
        """Change a limit order in place, and report what the exchange then lists.

        Its answer only states that it has taken the request. Raises NotSent, Rejected or
        OutcomeUnknown."""
        client = await self._open_for_write(spec, urgent=True)
        ready = order_encoding.encode_change(client, request)
        guarded = GuardedCall(
            partial(check_deadline, request),
            is_repeatable=True,
            is_urgent=True,
            send_by=request.send_by,
        )
        try:
            await orders.send(client, spec, guarded, partial(order_encoding.change, client, ready))
        except orders.NoSuchOrder as error:
            raise Rejected(Code.ORDER_ENDED, str(error)) from error
        except orders.Unchanged:
            pass  # an earlier request has arrived after all
        return [await self._listed_terms(spec, request)]

    async def _listed_terms(self, spec: ConnectionSpec, request: ChangeRequest) -> OrderReport:
        """Return what the exchange lists of a changed order; wait a moment for the change.

        Raises OutcomeUnknown if the order is not listed."""
        listed: BrokerOrder | None = None
        for pause in CHANGE_PAUSES:
            await asyncio.sleep(pause)
            try:
                found = await self.open_orders(spec)
            except ReadFailed as error:
                raise OutcomeUnknown(Code.REPLY_LOST, error.detail) from error
            name = request.client_order_id
            listed = next((one for one in found if one.client_order_id == name), None)
            if listed is None or listed.terms == request.terms:
                break
        if listed is None:
            raise OutcomeUnknown(Code.REPLY_LOST, "the change was taken, and no order is listed")
        return OrderReport(ReportKind.CHANGED, spec.connection_id, request.client_order_id,
                           broker_order_id=listed.broker_order_id, terms=listed.terms)  # fmt: skip

    async def modify(self, spec: ConnectionSpec, request: ModifyRequest) -> list[OrderReport]:
        """Set the levels that rest at the exchange, and report what it then lists.

        Where none rest there, confirm that. Raises NotSent, Rejected or OutcomeUnknown."""
        has_levels = request.stop_loss is not None or request.take_profit is not None
        if capabilities_of(spec).native_stops:
            client = await self._open_for_write(spec, urgent=True)
            if await self._is_listed(client, request.symbol):
                return await self._set_levels(client, spec, request)
            if has_levels:
                raise Rejected(Code.STOPS_INVALID, f"{request.symbol} is not listed any more")
        elif has_levels:
            raise Rejected(Code.STOPS_INVALID, "stops and targets are watched here, not there")
        return [OrderReport(ReportKind.LEVELS, spec.connection_id, request.client_order_id,
                            broker_position_id=request.broker_position_id,
                            levels=HeldLevels(None, None))]  # fmt: skip

    async def _is_listed(self, client: Client, symbol: str) -> bool:
        """Whether the exchange lists a symbol; one that is missing is looked for again, at most
        once a minute."""
        if symbol not in client.exchange.markets:
            client.doubt_markets(unless_since=RENEW_SECONDS)
            await outcome_of(self._clients.renew(client))
        return symbol in client.exchange.markets

    # ---- reads ----------------------------------------------------------------------------
    async def connect(self, spec: ConnectionSpec) -> None:
        """Load the markets, compare the clocks and log in once. Raises ReadFailed with the reason.

        Only the TCP connections to the exchange stay open.
        """
        await self._read(spec, reads.log_in)

    async def test(self, spec: ConnectionSpec) -> list[Check]:
        """Check reach, keys, permissions, account type, symbols and clock, one line for each."""
        return await run_checks(self._clients, spec)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        """Return balances in the account's currency. Raises ReadFailed."""
        name, known = spec.account, account_identity.confirmed_identity(spec)
        return await self._read(spec, partial(reads.account, name=name, known=known))

    async def instruments(self, spec: ConnectionSpec) -> list[Instrument]:
        """Return the connection's symbols as the exchange lists them now. Raises ReadFailed."""

        async def as_listed_now(client: Client) -> list[Instrument]:
            client.doubt_markets(unless_since=LISTED_SECONDS)
            await self._clients.renew(client)
            return await reads.instruments(client)

        return await self._read(spec, as_listed_now)

    async def quote(self, spec: ConnectionSpec, symbol: str) -> Quote:
        """Return the best bid and ask. Raises ReadFailed."""
        return await self._read(spec, partial(prices.quote, symbol=symbol))

    def stream_quotes(self, spec: ConnectionSpec, symbols: Sequence[str]) -> AsyncIterator[Quote]:
        """Yield the quotes of a websocket, or poll them each second. Raises ReadFailed."""
        names, open_client = tuple(symbols), partial(self._read, spec, _itself)
        read_quotes = partial(prices.quotes, symbols=names)
        live = QuoteStream(spec, names, open_client, self._clients.open_stream)
        can_watch = bool(rules(spec.exchange_name).watches_prices)
        return prices.stream(lambda: self._read(spec, read_quotes), live if can_watch else None)

    async def watch_orders(self, spec: ConnectionSpec) -> AsyncIterator[None]:
        """Yield when an order may have changed (`OrderWatcher`). Raises ReadFailed."""
        if not capabilities_of(spec).order_stream:
            raise ReadFailed(Code.NOT_SUPPORTED, f"{spec.exchange_name} is polled for orders")
        client = await self._read(spec, _itself)
        exchange = self._clients.open_stream(client, spec)
        async with aclosing(order_stream.watch(client, exchange, spec)) as news:
            async for _ in news:
                yield

    async def what_if(self, spec: ConnectionSpec, request: OrderRequest) -> WhatIf:
        """Raise ReadFailed: exchanges report an order's margin only after they accepted it."""
        raise ReadFailed(
            Code.NOT_SUPPORTED, f"{spec.exchange_name} reports no margin of an order in advance"
        )

    async def positions(self, spec: ConnectionSpec) -> list[BrokerPosition]:
        """Return the positions on the connection's symbols. Raises ReadFailed."""
        return await self._read(spec, level_reads.positions)

    async def open_orders(self, spec: ConnectionSpec) -> list[BrokerOrder]:
        """Return the account's working orders, also those that are not ours. Raises ReadFailed."""
        since = machine_time()
        found = await self._read(spec, level_reads.open_orders)
        self._order_cache.set_open(spec.connection_id, found, since)
        return found

    async def fills_since(self, spec: ConnectionSpec, since: datetime) -> list[OrderReport]:
        """Return the fills on the connection's symbols since a time. Raises ReadFailed."""
        if rules(spec.exchange_name).fills_horizon is None:
            raise ReadFailed(
                Code.LOOKUP_WINDOW_EXCEEDED, f"{spec.exchange_name} was not checked for it"
            )
        return await self._read(
            spec,
            partial(history.fills_since, spec=spec, since=since, order_cache=self._order_cache),
        )

    async def find_order(
        self, spec: ConnectionSpec, client_order_id: str, symbol: str = ""
    ) -> list[OrderReport] | None:
        """Return the reports of one order; None: the exchange certainly does not have it.

        symbol: where it was sent, if that is known. Raises ReadFailed, also while a request of this
        process could still arrive or appear in the exchange's lists; for requests of other
        processes the engine waits (`capabilities.arrives_within`).
        """
        if rules(spec.exchange_name).lookup is Lookup.NONE:
            raise ReadFailed(
                Code.LOOKUP_WINDOW_EXCEEDED, f"{spec.exchange_name} has no look-up by our id"
            )
        symbol = symbol or self._order_cache.symbol_of(spec.connection_id, client_order_id)
        early = self._order_cache.is_early(spec.connection_id, client_order_id, machine_time())
        reports = await self._read(
            spec, partial(self._look_up, spec=spec, name=client_order_id, symbol=symbol)
        )
        if reports is None and early:
            raise ReadFailed(Code.REPLY_LOST, lookup.MAY_STILL_ARRIVE)
        if reports is None:
            self._order_cache.record_ended(spec.connection_id, client_order_id)
        return reports

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        """Raise ReadFailed: it lists none (`capabilities.cash_flows_horizon`)."""
        return await super().cash_flows(spec, since)

    async def funding(
        self, spec: ConnectionSpec, since: datetime, until: datetime
    ) -> list[BrokerFunding]:
        """Return the funding of perpetuals between two times. Raises ReadFailed.

        A refusal for too many requests delays no order: the caller does not ask again soon.
        """
        if self.capabilities(spec).funding_horizon is None:
            return await super().funding(spec, since, until)
        return await orders.reading(
            spec,
            self._client(spec),
            partial(funding.funding_between, since=since, until=until),
            backs_off=False,
        )

    async def disconnect(self, spec: ConnectionSpec | None = None) -> None:
        """Forget one account, or close this loop's connections, which all accounts share; the next
        call opens them again."""
        await self._clients.close(spec)

    # ---- levels at the exchange -----------------------------------------------------------
    async def _set_levels(
        self, client: Client, spec: ConnectionSpec, request: ModifyRequest, *,
        is_first: bool = False,
    ) -> list[OrderReport]:  # fmt: skip
        """Raises NotSent, Rejected or OutcomeUnknown. is_first: the entry has had no level yet."""

        async def read(ask: Callable[[Client], Awaitable[T]]) -> T:
            with as_current(priority_read()):
                return await self._read(spec, ask)

        async def look_up(name: str, symbol: str) -> Mapping[str, Any] | None:
            not_found_error = importlib.import_module("ccxt").OrderNotFound
            return await read(
                lambda found: level_reads.find_level(found, name, symbol, not_found_error)
            )

        make: Callable[..., level_changes.LevelChange] = level_changes.LevelChange
        if client.settings.market == "spot":
            make = partial(spot_level_changes.SpotLevelChange, is_first=is_first)
        renew = partial(self._clients.renew, client)
        change = make(
            client, spec, request, self._order_cache, read=read, look_up=look_up, renew=renew
        )
        return await change.apply()

    async def _follow_levels(
        self,
        client: Client,
        spec: ConnectionSpec,
        request: OrderRequest,
        reports: list[OrderReport],
    ) -> list[OrderReport]:
        """Place the levels of what an entry has filled; remove those of what an exit has closed.

        What fails here the engine has done by `modify`, a second later. Returns further reports."""
        has_levels = request.stop_loss is not None or request.take_profit is not None
        is_spot = client.settings.market == "spot"
        if not level_reads.has_levels(client) or not (has_levels or request.reduce_only):
            return []
        if is_spot and request.reduce_only:
            return []  # its levels were removed before: they reserved the coins
        quantity_of = parse.opened_quantity if is_spot else parse.filled_quantity
        further: list[OrderReport] = []

        async def follow() -> None:
            async with asyncio.timeout(PROTECT_SECONDS):
                if request.reduce_only:
                    await self._remove_orphans(client, spec, request)
                    return
                found = reports
                if not quantity_of(reports):
                    found = await self._awaited_fills(spec, request, quantity_of)
                    further.extend(found)
                if filled := quantity_of(found):
                    levels = _levels_of(request, filled)
                    further.extend(await self._set_levels(client, spec, levels, is_first=True))

        error = await outcome_of(follow())
        if isinstance(error, Rejected) and error.code is Code.STOPS_INVALID:
            further.append(level_changes.refused_report(spec, request, error))
        return further

    async def _awaited_fills(
        self,
        spec: ConnectionSpec,
        request: OrderRequest,
        quantity_of: Callable[[Sequence[OrderReport]], Decimal],
    ) -> list[OrderReport]:
        """Return the reports of an order that fills at once, when they show its fills."""
        is_brief = request.order_type is OrderType.MARKET or request.time_in_force in BRIEF
        for pause in FILL_PAUSES if is_brief else ():
            await asyncio.sleep(pause)
            found = await self.find_order(spec, request.client_order_id, symbol=request.symbol)
            if found and quantity_of(found):
                return found
        return []

    async def _remove_orphans(
        self, client: Client, spec: ConnectionSpec, request: OrderRequest
    ) -> None:
        """Remove the levels of the position that an exit has closed, if nothing is open there."""
        names = (
            LevelName.read(order.client_order_id)
            for order in await self._read(spec, level_reads.open_orders)
        )
        if any(name is not None and name.entry == request.closes for name in names):
            removal = ModifyRequest(request.closes, request.symbol, request.symbol, None, None,
                                    send_by=machine_time() + PROTECT_SECONDS)  # fmt: skip
            await self._set_levels(client, spec, removal)

    # ---- internal -------------------------------------------------------------------------
    async def _open_for_write(self, spec: ConnectionSpec, *, urgent: bool) -> Client:
        """Return the client for a call that changes something. Raises NotSent, Rejected."""
        return await orders.open_for_write(spec, self._client(spec, urgent))

    async def _read(self, spec: ConnectionSpec, ask: Callable[[Client], Awaitable[T]]) -> T:
        if is_exit_read():
            with as_current(priority_read()):
                return await orders.reading(spec, self._client(spec, urgent=True), ask)
        return await orders.reading(spec, self._client(spec), ask)

    async def _client(self, spec: ConnectionSpec, urgent: bool = False) -> Client:
        """Return the client if its key is of the tested account. Raises ReadFailed and what ccxt
        raises, which may be anything."""
        return await account_identity.require_tested_account(
            await self._clients.get(spec, urgent=urgent), spec, urgent
        )

    async def _look_up(
        self, client: Client, *, spec: ConnectionSpec, name: str, symbol: str
    ) -> list[OrderReport] | None:
        symbols = [symbol] if symbol else list(client.settings.symbols)
        if not symbols:
            raise ValueError("the connection lists no symbols")
        looked_up_at, record = machine_time(), self._order_cache.get(spec.connection_id, name)
        not_found_error = importlib.import_module("ccxt").OrderNotFound
        order = await lookup.find(client, name, symbols, not_found_error)
        if order is None:
            if record is not None and record.expires_ms:
                await lookup.require_expired(client, record.expires_ms, looked_up_at)
            return None
        self._order_cache.record_listed(spec.connection_id, name, str(order["symbol"]), order)
        fills = await lookup.executions(client, order, str(order["symbol"]))
        requested = record.quantity if record else None
        return reports.reports_of(client, spec, name, order, fills, requested=requested)

    async def _report_accepted(
        self, client: Client, spec: ConnectionSpec, request: OrderRequest, order: Mapping[str, Any]
    ) -> list[OrderReport]:
        """Report an accepted order. Read what the reply lacks once; polling reads it later."""
        accepted = OrderReport(ReportKind.ACCEPTED, spec.connection_id, request.client_order_id,
                               broker_order_id=str(order["id"]))  # fmt: skip
        try:
            if trades := reports.reply_trades(order, request):
                fills = parse.executions(trades, client.market(request.symbol))
                return reports.reports_of(
                    client, spec, request.client_order_id, order, fills, request
                )
            async with asyncio.timeout(FOLLOW_UP_SECONDS):
                name, symbol = request.client_order_id, request.symbol
                found = await self.find_order(spec, name, symbol=symbol)
        except (ReadFailed, TimeoutError, ValueError, KeyError):
            return [accepted]
        return found or [accepted]

    async def _report_existing(
        self, spec: ConnectionSpec, request: OrderRequest, detail: str
    ) -> list[OrderReport]:
        """Report the order that the exchange already has with this id: an earlier write arrived."""
        try:
            found = await self.find_order(spec, request.client_order_id, symbol=request.symbol)
        except ReadFailed as error:
            raise OutcomeUnknown(Code.REPLY_LOST, f"{detail}; {error.detail}") from error
        if found is None:
            raise OutcomeUnknown(Code.REPLY_LOST, detail)
        return found


async def _itself(client: Client) -> Client:
    return client


def _levels_of(request: OrderRequest, filled: Decimal) -> ModifyRequest:
    """Return the request that places an entry's levels for what has filled."""
    return ModifyRequest(
        request.client_order_id, request.symbol, request.symbol, request.stop_loss,
        request.take_profit, filled, machine_time() + PROTECT_SECONDS,
    )  # fmt: skip
