"""What an account lacks to trade a feed. Neither pages nor API subscribe it until that is done.

What only a person can change is missing. What passes by itself (a broker that does not answer, a
comparison that is due), or what the owner has chosen (a pause), is a warning: the account may
subscribe, and its signals are skipped or wait meanwhile.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.clocks import market_now
from common.reason_codes import Code
from connections.eligibility import PAUSE_REASONS, TEMPORARY_REASONS, needs_credentials, reason_for
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    ExecutionConnection,
    HealthStatus,
    Instrument,
)
from signals.models import Action, Feed, Signal
from signals.records.selectors import WITHHELD, sees_new
from users.models import User
from users.tenancy import for_all_tenants

NAMED = 10  # pairs in a message
PAIRS_OF_LAST = 100  # of how many signals the feed's symbols are taken
WARNINGS = frozenset(
    {*TEMPORARY_REASONS, *PAUSE_REASONS, Code.CONNECTION_PAUSED, Code.ENTRIES_HALTED}
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an account cannot trade a feed. detail: what exactly, if the code does not say it."""

    code: Code
    detail: str = ""

    @property
    def text(self) -> str:
        """What is missing and what to do."""
        parts = [self.code.sentence, f"{self.detail}." if self.detail else "", self.code.hint]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Readiness:
    """missing: why subscribing is refused. warnings: why entries would be skipped or wait now."""

    missing: tuple[Obstacle, ...] = ()
    warnings: tuple[Obstacle, ...] = ()

    @property
    def message(self) -> str:
        """All that is missing, in one message."""
        return " ".join(
            f"{number}. {one.text} ({one.code})" for number, one in enumerate(self.missing, 1)
        )


def readiness_of(
    connection: ExecutionConnection, feed: Feed, symbol_map: Mapping[str, str] | None = None
) -> Readiness:
    """Return everything that stops an account from trading a feed. Call it in a transaction."""
    missing = list(dict.fromkeys(_missing(connection, feed, symbol_map or {})))
    now = reason_for(connection_id=connection.pk, feed_id=feed.pk)
    if now is Code.TRADING_HALTED:
        missing.append(Obstacle(now))
    warnings = [Obstacle(now)] if now in WARNINGS else []
    return Readiness(tuple(missing), tuple(warnings))


def _missing(
    connection: ExecutionConnection, feed: Feed, symbol_map: Mapping[str, str]
) -> Iterator[Obstacle]:
    if connection.archived_at is not None or not connection.is_active:
        yield Obstacle(Code.CONNECTION_INACTIVE)
    if connection.sealed_credentials is None and needs_credentials(connection.type):
        yield Obstacle(Code.NO_CREDENTIALS)
    if connection.preset_id is None:
        yield Obstacle(Code.NO_PRESET)
    if connection.data_connection_id is None:
        yield Obstacle(Code.NO_DATA_CONNECTION)
    if tested := _test_obstacle(connection):
        yield tested
    if not AccountSnapshot.objects.filter(connection=connection).exists():
        yield Obstacle(Code.ACCOUNT_NOT_SYNCED)
    yield from _symbol_obstacles(connection, feed, symbol_map)


def _test_obstacle(connection: ExecutionConnection) -> Obstacle | None:
    """Return what the last test found, unless it passes by itself."""
    health = ConnectionHealth.objects.filter(connection=connection).first()
    if health is None or health.status == HealthStatus.UNTESTED:
        return Obstacle(Code.CONNECTION_UNTESTED)
    if health.status == HealthStatus.ACTIVE or health.unreachable_at is not None:
        return None
    is_known = health.error_code in Code.__members__
    code = Code[health.error_code] if is_known else Code.CONNECTION_ERROR
    return None if code in TEMPORARY_REASONS else Obstacle(code)


def _pairs_of(feed: Feed, user: User | None) -> list[str]:
    """Return what the feed trades, by the signals that a user may know of; None: an operator.

    Those of the last day count only for subscribers, as in the feed's record: else the refusal
    would name the pair of a new signal, or state by a map of symbols whether it is of a pair.
    """
    opened = Signal.objects.published().filter(feed=feed, action=Action.OPEN)
    if user is not None and not sees_new(feed, user):
        opened = opened.filter(published_at__lte=market_now() - WITHHELD)
    newest = opened.order_by("-published_at").values_list("currency_pair", flat=True)
    with for_all_tenants():
        return sorted(set(newest[:PAIRS_OF_LAST]))


def _symbol_obstacles(
    connection: ExecutionConnection, feed: Feed, symbol_map: Mapping[str, str]
) -> Iterator[Obstacle]:
    book = connection.instrument_book
    listed = Instrument.objects.filter(book=book)
    if not book or not listed.exists():
        yield Obstacle(Code.INSTRUMENTS_NOT_READ)
        return
    pairs = _pairs_of(feed, connection.user)
    mapped = {pair: symbol_map[pair] for pair in pairs if pair in symbol_map}
    found = set(
        listed.filter(pair__in=pairs, is_preferred=True).values_list("pair", flat=True)
    ) - set(mapped)
    symbols = set(listed.filter(symbol__in=mapped.values()).values_list("symbol", flat=True))
    if pairs and not found and not symbols:
        yield Obstacle(Code.SYMBOL_NOT_AT_BROKER, f"The feed trades {_some(pairs)}")


def _some(pairs: Sequence[str]) -> str:
    more = len(pairs) - NAMED
    return ", ".join(pairs[:NAMED]) + (f" and {more} more" if more > 0 else "")
