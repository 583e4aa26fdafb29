"""Read one account at its broker: its state, and the deposits and withdrawals that go with it."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from brokers.base import BrokerAdapter, BrokerError
from brokers.types import AccountState, BrokerCashFlow, ConnectionSpec
from common.clocks import market_now
from common.reason_codes import Code
from connections.accounts.cash_flows import AccountFlows, FlowRequest

SPARE_SECONDS = 1.0  # of the caller's time-out: slow flows must not lose the state
MAX_READS = 3  # of a state, until no further flow is new


@dataclass(frozen=True, slots=True)
class AccountRead:
    """A state, and the flows that it includes. flows: None if they were not asked for."""

    state: AccountState
    flows: AccountFlows | None = None


async def read_account(
    adapter: BrokerAdapter, spec: ConnectionSpec, request: FlowRequest | None, *, seconds: float
) -> AccountRead:
    """Read an account; with a request, also its new flows. seconds: the caller's time-out.

    Raises as `adapter.account`.

    Flows are read after the state. If one is new, both are read again, until none is: then the
    state includes all of them. Flows that cannot be read lose no state.
    """
    deadline = asyncio.get_running_loop().time() + seconds - SPARE_SECONDS
    state = await adapter.account(spec)
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
    return AccountRead(state, AccountFlows(request, error=error))


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
        state = await adapter.account(spec)
    return AccountRead(state, AccountFlows(request, error="further ones came while reading"))
