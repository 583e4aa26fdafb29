"""Choose the account of a route that executes an entry. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from brokers.types import Side
from common.money import plain
from common.reason_codes import Code
from connections.eligibility import TEMPORARY_REASONS
from connections.models import RoutePolicy
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS

MAX_DETAIL = 2000  # of a line in an order's log; its figures have all accounts in full
_TEMPORARY = frozenset(code.value for code in TEMPORARY_REASONS)


class RouteCandidate(NamedTuple):
    """An account of a route, as it is at the decision.

    reason: why it may not trade now, None: it may. was_tried: it got this entry before. share: its
    part with the policy SHARE. bid, ask, quote_age (seconds): of its price source, None without a
    quote. failures: failed calls in a row. healthy_seconds: since its last error, None: it never
    had one. latency: seconds from sending to the broker's answer, the mean of its last entries.
    name: for people. symbols: those that fit the pair equally well, if several do.
    """

    order_id: int
    connection_id: str
    pair: str
    rank: int
    share: int
    was_tried: bool
    reason: str | None
    bid: Decimal | None
    ask: Decimal | None
    quote_age: int | None
    failures: int
    healthy_seconds: int | None
    latency: float | None
    name: str = ""
    symbols: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it may trade as soon as an obstacle ends that no person has to remove."""
        return self.reason in _TEMPORARY

    @property
    def why_not(self) -> str:
        """Return the code of why it gets no entry, with its symbols if it needs one named."""
        code = self.reason or "tried already"
        return f"{code} ({self.symbols})" if self.reason == Code.SYMBOL_AMBIGUOUS else code


@dataclass(frozen=True, slots=True)
class Choice:
    """The account that executes an entry. detail, numbers: for the log, with all inputs."""

    connection_id: str
    pair: str
    detail: str
    numbers: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoAccount:
    """No account of a route may take an entry. code: why; detail: why each was left out."""

    code: Code
    detail: str
    numbers: dict[str, Any]


def choose(
    policy: str, side: Side, candidates: Sequence[RouteCandidate], position: int
) -> Choice | None:
    """Return the best account that may trade and was not tried; None: there is none.

    position: where the signal falls among the shares, as a fraction of 2**32. Of equally good
    accounts the one with the lower rank is taken.
    """
    able = [one for one in _ranked(candidates) if one.reason is None and not one.was_tried]
    if not able:
        return None
    if policy == RoutePolicy.SHARE:
        chosen = _by_share(able, position)
    else:
        chosen = min(able, key=lambda one: _key(policy, side, one))
    numbers = _numbers(policy, side, candidates, position, chosen)
    return Choice(
        chosen.connection_id, chosen.pair, f"{policy}: {_shown(policy, side, chosen)}", numbers
    )


def choose_or_wait(
    policy: str, side: Side, candidates: Sequence[RouteCandidate], position: int, current: str
) -> Choice | NoAccount | None:
    """Return as `choose` does the account of an unsent entry, or else where it waits.

    current: the account that has the entry now. NoAccount: none may take it without a person's
    action. None: the current account is in the route no more, and the entry stays there.
    """
    if chosen := choose(policy, side, candidates, position):
        return chosen
    own = next((one for one in candidates if one.connection_id == current), None)
    if own is None:
        return None
    ranked = _ranked(candidates)
    others = (one for one in ranked if one.is_waiting and not one.was_tried)
    waiting = own if own.reason is None or own.is_waiting else next(others, None)
    numbers = _numbers(policy, side, candidates, position, waiting)
    if waiting:
        detail = "no account of the route may trade now"
        return Choice(waiting.connection_id, waiting.pair, detail, numbers)
    detail = "; ".join(f"{one.name}: {one.why_not}" for one in ranked)
    return NoAccount(_code_of(ranked), detail[:MAX_DETAIL], numbers)


def _code_of(left_out: Sequence[RouteCandidate]) -> Code:
    """Return the code for an entry that no account may take.

    A symbol that is not named comes first: its owner can name it, and then that account trades.
    """
    reasons = {one.reason for one in left_out if one.reason}
    if Code.SYMBOL_AMBIGUOUS in reasons:
        return Code.SYMBOL_AMBIGUOUS
    return Code[reasons.pop()] if len(reasons) == 1 else Code.NO_ROUTE_ACCOUNT


def _ranked(candidates: Sequence[RouteCandidate]) -> list[RouteCandidate]:
    return sorted(candidates, key=lambda one: one.rank)


def _numbers(
    policy: str,
    side: Side,
    candidates: Sequence[RouteCandidate],
    position: int,
    chosen: RouteCandidate | None,
) -> dict[str, Any]:
    """Return all inputs of a choice as JSON."""
    return {
        "policy": policy,
        "side": side.value,
        "position": position,
        "chosen": chosen.connection_id if chosen else None,
        "accounts": [_inputs(one) for one in _ranked(candidates)],
    }


def _by_share(able: Sequence[RouteCandidate], position: int) -> RouteCandidate:
    """Return the account into whose part of the whole the position falls.

    The parts of accounts that cannot trade are divided among the others.
    """
    total = sum(one.share for one in able)
    if not total:
        return able[0]
    left = position * total
    for one in able:
        left -= one.share << 32
        if left < 0:
            return one
    return able[-1]


def _key(policy: str, side: Side, one: RouteCandidate) -> tuple[Any, ...]:
    """Return what accounts are compared by, the lowest first; unknown figures come last."""
    if policy == RoutePolicy.PRICE:
        price, spread = _price(side, one), _spread(one)
        if price is None or spread is None:
            return (True,)
        return (False, price if side is Side.BUY else -price, spread)
    if policy == RoutePolicy.LATENCY:
        return (one.latency is None, one.latency or 0.0)
    healthy = one.healthy_seconds
    return (one.failures, healthy is not None, -(healthy or 0))


def _price(side: Side, one: RouteCandidate) -> Decimal | None:
    if one.quote_age is None or one.quote_age > QUOTE_MAX_AGE_SECONDS:
        return None
    return one.ask if side is Side.BUY else one.bid


def _spread(one: RouteCandidate) -> Decimal | None:
    return None if one.ask is None or one.bid is None else one.ask - one.bid


def _shown(policy: str, side: Side, chosen: RouteCandidate) -> str:
    """Return the figure for which an account was chosen, as the log shows it."""
    if policy == RoutePolicy.PRICE:
        price, spread = _price(side, chosen), _spread(chosen)
        if price is None or spread is None:
            return "no account has a price"
        return f"{plain(price)}, spread {plain(spread)}"
    if policy == RoutePolicy.LATENCY:
        return "not measured yet" if chosen.latency is None else f"{chosen.latency:.3f} s"
    if policy == RoutePolicy.HEALTH:
        return f"{chosen.failures} failures in a row"
    return f"share {chosen.share}"


def _inputs(one: RouteCandidate) -> dict[str, Any]:
    """Return an account's figures as JSON, without those that are unknown."""
    values = {
        "connection": one.connection_id, "rank": one.rank, "share": one.share,
        "was_tried": one.was_tried or None, "reason": one.reason,
        "symbols": one.symbols if one.reason == Code.SYMBOL_AMBIGUOUS else None,
        "bid": None if one.bid is None else plain(one.bid),
        "ask": None if one.ask is None else plain(one.ask), "quote_age": one.quote_age,
        "failures": one.failures, "healthy_seconds": one.healthy_seconds, "latency": one.latency,
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}
