"""What each exchange lets through: data, with its source. Units are ccxt's costs.

Read on 2026-11-20: Binance spot "rest-api.md" (LIMITS), Bybit v5 "Rate Limit Rules", Kraken "Spot
REST Rate Limits" and "Spot Trading Limits", and `rateLimit` and the costs of `api` in ccxt 4.5.90.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from brokers.rate_limits import Rate

CONNECTS = Rate(per_second=0.1, burst=10.0, exit_reserve=0.5)
"""New connections by websocket, at an exchange that was not checked."""


@dataclass(frozen=True, slots=True)
class Limits:
    """host: of one address, in requests, or in costs where there are no points. points: of one
    account, in costs. orders: new orders of one account (cancels too: cancels_count). order_cost:
    what a new order costs, where ccxt's number is another limit's. connects: new connections by
    websocket from one address: half of what is let through, since others may use it.
    exit_cost: what an exit takes from the cancel of its stop on: that, the check that nothing rests
    any more, the balances, the order; 0: no stop is removed before an exit.
    costs_per_tier_point: costs in one of the points that the owner's tier frees each second; 0:
    there are no tiers."""

    host: Rate
    points: Rate | None
    orders: Rate
    order_cost: float | None = None
    cancels_count: bool = False
    costs_per_tier_point: float = 0.0
    exit_cost: float = 0.0
    connects: Rate = CONNECTS


# Connections, remembered: Binance 300 in five minutes, Bybit 500, OKX 3 a second, Kraken about 150
# in ten minutes. All have the priority of exits, whose reserve a new limiter starts with.
# Weights are an address's: 6000 a minute on spot, ccxt counts a weight as a fifth: 1200 costs;
# 2400 on futures. In any minute burst + 60 × rate leave: a tenth is left to others. Orders are an
# account's, in `rateLimits` of exchangeInfo: 50 in 10 s was spot's least; futures' are 300 in 10 s
# and 1200 a minute, which is what ccxt's cost of an order stands for; it weighs nothing there.
BINANCE = Limits(
    connects=Rate(per_second=0.5, burst=20.0, exit_reserve=0.5),
    host=Rate(per_second=15.0, burst=180.0),
    points=None,
    orders=Rate(per_second=4.0, burst=10.0),
    exit_cost=8.0,  # weights 1, 6, 4, 20 and 1, and a second check
)
BINANCE_FUTURES = Limits(
    connects=Rate(per_second=0.5, burst=20.0, exit_reserve=0.5),
    host=Rate(per_second=30.0, burst=360.0),
    points=None,
    orders=Rate(per_second=16.0, burst=100.0),
    order_cost=0.0,
)

# 600 requests in 5 s of an address, else 403 for ten minutes; 10 orders a second of an account
# (20 on spot). ccxt counts 50 costs a second for an account's reads.
BYBIT = Limits(
    connects=Rate(per_second=0.8, burst=20.0, exit_reserve=0.5),
    host=Rate(per_second=90.0, burst=50.0),
    points=Rate(per_second=40.0, burst=10.0),
    orders=Rate(per_second=6.0, burst=3.0),
)

# Private limits are an account's, each endpoint's own; ccxt's costs make them one of 9 a second.
# Orders: 60 in 2 s for each instrument and account.
OKX = Limits(
    connects=Rate(per_second=1.0, burst=2.0, exit_reserve=0.5),
    host=Rate(per_second=50.0, burst=50.0),
    points=Rate(per_second=8.0, burst=8.0),
    orders=Rate(per_second=20.0, burst=15.0),
    exit_cost=6.0,
)

# A key's counter takes 15 points (starter; then 20) and frees 0.33, 0.5 or 1 of them a second;
# a call is a point, ccxt's cost of 3. Orders and cancels count in the engine instead, per pair: 60
# (starter), freed at 1 a second, a cancel within 5 s counts 8.
KRAKEN = Limits(
    connects=Rate(per_second=0.1, burst=15.0, exit_reserve=0.5),
    host=Rate(per_second=15.0, burst=15.0),
    points=Rate(per_second=0.99, burst=42.0),
    orders=Rate(per_second=0.5, burst=12.0),
    cancels_count=True,
    costs_per_tier_point=3.0,
)

CAREFUL = Limits(
    host=Rate(per_second=10.0, burst=20.0),
    points=Rate(per_second=2.0, burst=10.0),
    orders=Rate(per_second=2.0, burst=4.0),
)
"""Of an exchange that was not checked."""

CHECKED: Mapping[tuple[str, str], Limits] = {
    ("binance", "spot"): BINANCE, ("binance", "swap"): BINANCE_FUTURES,
    ("bybit", "spot"): BYBIT, ("bybit", "swap"): BYBIT,
    ("okx", "spot"): OKX, ("okx", "swap"): OKX,
    ("kraken", "spot"): KRAKEN,
}  # fmt: skip


def limits_of(name: str, market: str) -> Limits:
    """Return what an exchange lets through on 'spot' or 'swap'."""
    return CHECKED.get((name, market), CAREFUL)
