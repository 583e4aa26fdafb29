"""The account's loss limits during a replay: when one pauses its entries, until when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from connections.models import LossAction
from connections.selectors import (
    AppliedLimit,
    LossFigures,
    breach_of,
    limit_name,
    pause_end,
    pause_limit,
    window_start,
)
from connections.trading_day import rule_of
from execution.submission.sizing import Denial

ZERO = Decimal(0)
ALWAYS = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Pause:
    denial: Denial
    until: datetime | None


@dataclass(slots=True)
class LossLimits:
    """The limits with what they have seen. The replay begins with none reached."""

    limits: Sequence[AppliedLimit]
    states: list[tuple[datetime, Decimal, Decimal]] = field(default_factory=list)
    _pauses: dict[int, _Pause] = field(default_factory=dict)
    _ended: dict[int, datetime] = field(default_factory=dict)

    def denial(self, at: datetime) -> Denial | None:
        """Return why entries are denied now; None: no limit pauses them."""
        for key, pause in list(self._pauses.items()):
            if pause.until is not None and pause.until <= at:
                del self._pauses[key]
                self._ended[key] = pause.until
        return next((pause.denial for pause in self._pauses.values()), None)

    def observe(
        self,
        at: datetime,
        balance: Decimal,
        equity: Decimal,
        closed: Sequence[tuple[datetime, Decimal]],
    ) -> bool:
        """Judge the account's state; return whether a limit closes everything now."""
        if not self.limits:
            return False
        self.states.append((at, balance, equity))
        self.denial(at)
        closes = False
        for limit in self.limits:
            if limit.limit_id in self._pauses:
                continue
            rule = rule_of(limit)
            start = window_start(limit.window, at, rule) or ALWAYS
            since = max(start, self._ended.get(limit.limit_id, ALWAYS))
            breach = breach_of(limit, self._figures(since, balance, equity, closed))
            if breach is None:
                continue
            of = pause_limit(limit_name(limit), limit.unit, limit.currency)
            denial = Denial(breach.code, breach.value, breach.maximum, limit=of)
            self._pauses[limit.limit_id] = _Pause(denial, pause_end(limit, at, rule))
            closes = closes or limit.action == LossAction.PAUSE_AND_CLOSE
        return closes

    def _figures(
        self,
        since: datetime,
        balance: Decimal,
        equity: Decimal,
        closed: Sequence[tuple[datetime, Decimal]],
    ) -> LossFigures:
        inside = [state for state in self.states if state[0] >= since] or self.states[-1:]
        results = [net for at, net in closed if at >= since]
        streak = 0
        for net in reversed(results):
            if net >= 0:
                break
            streak += 1
        return LossFigures(
            balance,
            equity,
            opening_balance=inside[0][1],
            opening_equity=inside[0][2],
            peak_balance=max(state[1] for state in inside),
            peak_equity=max(state[2] for state in inside),
            realized_loss=-sum(results, ZERO),
            losing_streak=streak,
        )
