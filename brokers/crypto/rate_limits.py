"""Rate limits of requests to an exchange, shared by all processes; exits come first.

ccxt knows what each request costs (`calculate_rate_limiter_cost`); its own throttle is off, since
it counts for one process and does not let exits go first. Whether the cost counts for the address
(Binance) or for the account is the exchange's rule.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

from brokers.call_time import uncounted_wait
from brokers.crypto.exchange_limits import Limits, limits_of
from brokers.crypto.exchanges import Exchange
from brokers.crypto.guarded_call import GuardedCall
from brokers.crypto.prepaid import Kind, Prepaid
from brokers.rate_limits import Priority, Rate, RateLimiter, rate_limiter_for
from brokers.types import ConnectionSpec
from common.clocks import machine_time

READ_WAIT_SECONDS = 20.0
EXIT_REQUESTS = 5.0  # from the cancel of a stop to the exit's order, where requests are counted
READS_SHARE = 0.75  # of an address's rate: the most that polls of all accounts may take


@dataclass(frozen=True, slots=True)
class AccountRateLimits:
    """The rate limits of one account. host: all requests from this address; points: ccxt's costs
    per account, None: they count for the host; orders: orders per account; prepaid: what is set
    aside for exits whose stop is being removed; reads: the share of the
    host's limit for reads. Reads wait there in a separate queue: an entry that waited behind the
    polls of fifty accounts would be too late. connects: new connections by websocket from this
    address; None: unlimited."""

    host: RateLimiter
    points: RateLimiter | None
    orders: RateLimiter
    limits: Limits
    reads: RateLimiter
    connects: RateLimiter | None = None
    prepaid: Prepaid = field(default_factory=Prepaid)

    async def admit(self, cost: float, guarded: GuardedCall | None) -> None:
        """Wait until a request may leave. Raises NotSent RATE_LIMITED when its turn is too late.

        guarded: the call that it belongs to; None: a read, whose wait no time-out counts.
        """
        with uncounted_wait() if guarded is None else nullcontext():
            await self._admit(cost, guarded)

    async def _admit(self, cost: float, guarded: GuardedCall | None) -> None:
        until = guarded.send_by if guarded else machine_time() + READ_WAIT_SECONDS
        acquire = partial(self._acquire, guarded=guarded, until=until)
        if guarded is not None and (not guarded.is_repeatable or self.limits.cancels_count):
            await acquire(Kind.ORDERS, self.orders, 1.0)
        if guarded is not None and not guarded.is_repeatable and self.limits.order_cost is not None:
            cost = self.limits.order_cost
        if self.points is not None:
            if cost > 0:
                await acquire(Kind.POINTS, self.points, cost)
            cost = 1.0
        if cost > 0 and guarded is None:
            await self.reads.acquire(cost, deadline=until)
        if cost > 0:
            await acquire(Kind.HOST, self.host, cost)

    async def _acquire(
        self, kind: Kind, limiter: RateLimiter, tokens: float, *,
        guarded: GuardedCall | None, until: float | None,
    ) -> None:  # fmt: skip
        if not self.prepaid.spend(kind, tokens, guarded):
            is_urgent = guarded is not None and guarded.is_urgent
            priority = Priority.EXIT if is_urgent else Priority.ENTRY
            await limiter.acquire(tokens, priority=priority, deadline=until)

    async def prepay_exit(self, until: float | None) -> None:
        """Wait until an exit may follow at once, from the cancel of its stop to its order, and set
        that aside. until: machine_time(). Raises NotSent RATE_LIMITED if that would be later."""
        if not self.limits.exit_cost:
            return
        costs = {Kind.ORDERS: 1.0, Kind.HOST: self.limits.exit_cost}
        limiters = {Kind.ORDERS: self.orders, Kind.HOST: self.host}
        if self.points is not None:
            costs |= {Kind.POINTS: self.limits.exit_cost, Kind.HOST: EXIT_REQUESTS}
            limiters[Kind.POINTS] = self.points
        for kind, limiter in limiters.items():
            await limiter.acquire(costs[kind], priority=Priority.EXIT, deadline=until)
            self.prepaid.add(kind, costs[kind])

    async def admit_connection(self) -> None:
        """Wait until a connection by websocket may be made."""
        if self.connects is not None:
            await self.connects.acquire(priority=Priority.EXIT)

    def back_off(self, seconds: float, *, whole_address: bool) -> None:
        """Send nothing for `seconds`: from this account, or from this whole address."""
        self.prepaid.clear()
        if whole_address:
            self.host.back_off(seconds)
            self.reads.back_off(seconds)  # else they would all be ahead of the next entry
            if self.connects is not None:
                self.connects.back_off(seconds)
        elif self.points is not None:
            self.points.back_off(seconds)
        self.orders.back_off(seconds)


LimitsFactory = Callable[[Exchange, ConnectionSpec], AccountRateLimits]


def account_rate_limits(exchange: Exchange, spec: ConnectionSpec) -> AccountRateLimits:
    """Return the rate limits of an account. Connections with the same key share them."""
    market = str(spec.settings.get("market") or "spot")
    limits = limits_of(exchange.name, market)
    sandbox = " sandbox" if spec.settings.get("sandbox") else ""
    host = (
        f"crypto {exchange.name} {market}{sandbox}"
        if limits.points is None
        else (f"crypto {exchange.name}{sandbox}")
    )
    key = spec.credentials.get("api_key") or spec.connection_id
    account = f"{host} account {sha256(key.encode()).hexdigest()[:16]}"
    points = limits.points
    if points is not None and limits.costs_per_tier_point:
        tier_rate = float(spec.settings.get("points_per_second") or 0) * limits.costs_per_tier_point
        points = replace(points, per_second=tier_rate or points.per_second)
    return AccountRateLimits(
        host=rate_limiter_for(host, limits.host),
        points=None if points is None else rate_limiter_for(f"{account} points", points),
        orders=rate_limiter_for(f"{account} orders", limits.orders),
        limits=limits,
        reads=rate_limiter_for(f"{host} reads", read_rate(limits.host)),
        connects=rate_limiter_for(f"{host} websockets", limits.connects),
    )


def read_rate(host: Rate) -> Rate:
    """Return the part of an address's rate that reads may take."""
    return Rate(host.per_second * READS_SHARE, host.burst / 2, exit_reserve=0.0)
