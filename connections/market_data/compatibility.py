"""Which price sources accounts of a broker type can trade on.

We provide the paper broker's prices, and all its accounts share them: a tenant's own terminal must
not move them (docs/adr/0019). Orders on a tenant's own live source would never find a price there.
"""

from django.db.models import Q, QuerySet

from brokers.account_capabilities import Capabilities
from brokers.registry import capabilities_of
from brokers.types import ConnectionSpec
from brokers.worst_price import describe_worst_price
from common.db.sql import rows
from common.errors import InvalidInputError, MisconfiguredError
from connections.models import DataConnection

LIVE_KINDS = (DataConnection.Kind.BROKER, DataConnection.Kind.PUSH)
"""The sources whose prices come from outside, as their owner lets them."""


def default_capabilities(broker_type: str, exchange_name: str = "") -> Capabilities | None:
    """Return the capabilities of a broker type; None if this process cannot use its package."""
    spec = ConnectionSpec(connection_id="", account="", exchange_name=exchange_name)
    try:
        return capabilities_of(broker_type, spec)
    except (InvalidInputError, ImportError, AttributeError, MisconfiguredError):
        return None


def slippage_rule(broker_type: str, exchange_name: str) -> str:
    """Return how a broker type applies a slippage limit, as a sentence; '' if that is unknown."""
    capabilities = default_capabilities(broker_type, exchange_name)
    return "" if capabilities is None else describe_worst_price(capabilities)


def needs_external_prices(broker_type: str) -> bool:
    """Return whether we must provide the prices of this broker type, as for paper."""
    capabilities = default_capabilities(broker_type)
    return capabilities is not None and not capabilities.own_prices


def lock_shared_source(source_id: int, *, to_change: bool = False) -> None:
    """Lock whether a source is shared, until the transaction ends. Read its owner after this.

    By default the lock is shared: no transaction can withdraw the source. to_change: the lock is
    exclusive, so that no other transaction can choose the source meanwhile.
    """
    suffix = "" if to_change else "_shared"  # advisory: tenants cannot lock an operator's row
    key = f"offer of price source {source_id}"
    rows(f"SELECT pg_advisory_xact_lock{suffix}(hashtextextended(%s, 0))", (key,))


def is_compatible(source: DataConnection, broker_type: str) -> bool:
    """Return whether accounts of a broker type can trade on a source's prices."""
    is_private = source.kind in LIVE_KINDS and source.user_id is not None
    return not (is_private and needs_external_prices(broker_type))


def compatible_sources(
    sources: QuerySet[DataConnection], broker_type: str, *, source_in_use: int | None = None
) -> QuerySet[DataConnection]:
    """Return those of the sources that a broker type can trade on.

    source_in_use: the id of the source in use; it stays a choice in any case.
    """
    if not needs_external_prices(broker_type):
        return sources
    return sources.filter(~Q(kind__in=LIVE_KINDS) | Q(user=None) | Q(pk=source_in_use))
