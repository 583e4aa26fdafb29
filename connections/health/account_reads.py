"""Read one account at its broker: its state, and the deposits and withdrawals that go with it."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import structlog

from brokers.base import BrokerAdapter, BrokerError
from brokers.types import AccountState, BrokerCashFlow, ConnectionSpec
from common.clocks import market_now
from common.reason_codes import Code
from connections.accounts.cash_flows import FAILED_AGAIN, AccountFlows, FlowRequest
from connections.accounts.funding import FundingRead, FundingRequest, usable_funding
from connections.accounts.outlying_readings import LastReading, confirmed_state

log = structlog.get_logger(__name__)

SPARE_SECONDS = 1.0  # of the caller's time-out: slow flows must not lose the state
MAX_READS = 3  # of a state, until no further flow is new


@dataclass(frozen=True, slots=True)
class AccountRead:
    """A state, and the flows that it includes. flows: None if they were not asked for.

    funding: what perpetuals were charged or paid; None if it was not asked for. held: a reading
    that was held back, as a text (`outlying_readings.py`); empty: none.
    """

    state: AccountState
    flows: AccountFlows | None = None
    funding: FundingRead | None = None
    held: str = ""


async def read_account(
    adapter: BrokerAdapter,
    spec: ConnectionSpec,
    request: FlowRequest | None,
    *,
    seconds: float,
    funding: FundingRequest | None = None,
    last: LastReading | None = None,
) -> AccountRead:
    """Read an account; with requests, also its new flows and its funding.

    seconds: the caller's time-out. last: the stored reading; one that is far from it is confirmed
    by another. Raises as `adapter.account`. Funding that cannot be read loses
    neither: it is asked for again after some minutes.
    """
    deadline = asyncio.get_running_loop().time() + seconds - SPARE_SECONDS
    confirmed = await confirmed_state(adapter, spec, last)
    read = await _with_flows_of(adapter, spec, request, deadline, confirmed.state)
    read = replace(read, held=confirmed.held)
    horizon = adapter.capabilities(spec).funding_horizon
    if funding is None or horizon is None:
        return read
    now = market_now()
    since, until = funding.span(now - horizon, now)
    try:
        async with asyncio.timeout_at(deadline):
            listed = await adapter.funding(spec, since, until)
    except Exception as failed:  # any: a broker's library may raise anything
        log.warning(
            "funding cannot be read", connection=spec.connection_id, error=type(failed).__name__
        )
        return replace(read, funding=FundingRead())
    usable = tuple(usable_funding(spec.connection_id, listed))
    return replace(read, funding=FundingRead(usable, now - until))


async def _with_flows_of(
    adapter: BrokerAdapter,
    spec: ConnectionSpec,
    request: FlowRequest | None,
    deadline: float,
    state: AccountState,
) -> AccountRead:
    """Return a state that was just read; with a request, also its new flows.

    Flows are read after the state. If one is new, both are read again, until none is: then the
    state includes all of them. Flows that cannot be read lose no state.
    """
    if request is None:
        return AccountRead(state)
    horizon = adapter.capabilities(spec).cash_flows_horizon
    if horizon is None:
        return AccountRead(state, refused(request, "the broker lists none"))
    now = market_now()
    since = request.since(now - horizon, now)
    try:
        async with asyncio.timeout_at(deadline):
            return await _with_flows(adapter, spec, state, request, since)
    except TimeoutError:
        error = "the broker did not answer in time"
    except BrokerError as failed:
        if failed.code is Code.NOT_SUPPORTED:
            return AccountRead(state, refused(request, failed.detail))
        error = f"{failed.code.sentence} {failed.detail}".strip()
    except Exception as failed:  # any: a broker's library may raise anything
        error = type(failed).__name__
    return AccountRead(state, AccountFlows(request, error=error, again_after=FAILED_AGAIN))


def refused(request: FlowRequest, why: str) -> AccountFlows:
    """Return that this account's broker does not list flows. why: in its words."""
    return AccountFlows(request, error=why or "the broker does not list them", is_refused=True)


async def _with_flows(
    adapter: BrokerAdapter,
    spec: ConnectionSpec,
    state: AccountState,
    request: FlowRequest,
    since: datetime,
) -> AccountRead:
    known = set(request.known)
    found: dict[str, BrokerCashFlow] = {}
    for _ in range(MAX_READS):
        listed = {flow.reference: flow for flow in await adapter.cash_flows(spec, since)}
        new = {name: flow for name, flow in listed.items() if name not in known}
        if new.keys() <= found.keys():
            return AccountRead(state, AccountFlows(request, tuple(found.values())))
        found |= new
        now = LastReading(UUID(spec.connection_id), state.currency, state.balance, state.equity)
        state = (await confirmed_state(adapter, spec, now)).state
    return AccountRead(state, AccountFlows(request, error="further ones came while reading"))
