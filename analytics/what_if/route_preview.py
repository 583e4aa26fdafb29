"""Where an entry of a routed subscription would go now, and the figures that decide it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from brokers.types import Side
from common.db.sql import Query, rows
from common.errors import InvalidInputError
from common.reason_codes import Code
from common.web import formatting
from connections import eligibility
from connections.models import ExecutionConnection, RoutePolicy, Subscription
from execution.submission.route_choices import candidates_sql
from execution.submission.routing import RouteCandidate, choose
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS
from signals.models import Action, Signal
from signals.symbols import read_pair

_REASON = f"""coalesce({eligibility.SUBSCRIPTION_REASON_SQL},
    {eligibility.ROUTE_ACCOUNT_REASON_SQL})"""
_CANDIDATES = Query(
    RouteCandidate,
    candidates_sql(
        "(SELECT 0::bigint AS id, %(subscriber)s::uuid AS routed_from_id) o", "false", _REASON
    )
    + "ORDER BY r.rank",
)


@dataclass(frozen=True, slots=True)
class RouteLine:
    """An account of a route with its figures. portion: percent of the signals, SHARE only."""

    account: RouteCandidate
    name: str
    is_chosen: bool
    portion: Decimal | None

    @property
    def spread(self) -> Decimal | None:
        """Ask less bid; None without a quote."""
        one = self.account
        return None if one.ask is None or one.bid is None else one.ask - one.bid

    @property
    def is_quote_old(self) -> bool:
        """Whether its quote is too old to be compared."""
        age = self.account.quote_age
        return age is not None and age > QUOTE_MAX_AGE_SECONDS

    @property
    def why_not(self) -> str:
        """Why it may not trade now, as a sentence; empty if it may."""
        if not self.account.reason:
            return ""
        sentence = formatting.sentence(self.account.reason)
        is_ambiguous = self.account.reason == Code.SYMBOL_AMBIGUOUS
        return f"{sentence} ({self.account.symbols})" if is_ambiguous else sentence

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from sending to the broker's answer; None: not measured yet."""
        return None if self.account.latency is None else self.account.latency * 1000


@dataclass(frozen=True, slots=True)
class RoutePreview:
    """Where an entry would go now. error: why the symbol that was asked for cannot be read."""

    pair: str
    side: Side
    policy: str
    lines: Sequence[RouteLine]
    error: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether the signals are divided, so that the next account is not known before."""
        return self.policy == RoutePolicy.SHARE

    @property
    def has_able(self) -> bool:
        """Whether an account may trade now."""
        return any(line.account.reason is None for line in self.lines)


def preview_route(subscription: Subscription, asked: Mapping[str, str]) -> RoutePreview | None:
    """Return where an entry would go; None: the subscription has no route.

    asked: `symbol` and `side`, as an address has them. Without a symbol, that of the feed's last
    trade. Reads only rows that the caller may see.
    """
    if not subscription.route_policy:
        return None
    side = Side.SELL if asked.get("side") == "SELL" else Side.BUY
    text, error = asked.get("symbol", "").strip(), ""
    pair = _last_pair(subscription)
    try:
        pair = read_pair(text) if text else pair
    except InvalidInputError as refused:
        error = f"{refused.detail} {refused.code.hint}".strip()
    accounts = rows(
        _CANDIDATES,
        {
            **eligibility.eligibility_parameters(
                feed_id=subscription.feed_id, direction=side.value, pair=pair
            ),
            "subscriber": subscription.connection_id,
        },
    )
    lines = _lines(subscription.route_policy, side, accounts)
    return RoutePreview(pair, side, subscription.route_policy, lines, error)


def _lines(policy: str, side: Side, accounts: Sequence[RouteCandidate]) -> list[RouteLine]:
    is_shared = policy == RoutePolicy.SHARE
    choice = None if is_shared else choose(policy, side, accounts, 0)
    ids = [UUID(one.connection_id) for one in accounts]
    names = dict(ExecutionConnection.objects.filter(pk__in=ids).values_list("pk", "name"))
    able = [one for one in accounts if one.reason is None]
    total = sum(one.share for one in able)
    return [
        RouteLine(
            one,
            names.get(UUID(one.connection_id), ""),
            is_chosen=choice is not None and choice.connection_id == one.connection_id,
            portion=_portion(one, total, is_first=one is able[0]) if is_shared and one in able
            else None,
        )
        for one in accounts
    ]  # fmt: skip


def _portion(one: RouteCandidate, total: int, *, is_first: bool) -> Decimal:
    """Return an account's percent of the signals; without any share the first takes all."""
    if not total:
        return Decimal(100 if is_first else 0)
    return Decimal(one.share * 100) / total


def _last_pair(subscription: Subscription) -> str:
    last = Signal.objects.filter(
        feed_id=subscription.feed_id, action=Action.OPEN, published_at__isnull=False
    )
    pair = last.order_by("-published_at").values_list("currency_pair", flat=True).first()
    return pair or "EUR/USD"
