"""Which price sources an account of a kind can trade on.

The paper broker trades on the prices that we tell it, and everybody's accounts there on the same: a
tenant's own terminal must not move them (docs/adr/0019). On a tenant's own live source its orders
would find no price for ever.
"""

from django.db.models import Q, QuerySet

from brokers.account_capabilities import Capabilities
from brokers.registry import capabilities_of
from brokers.types import ConnectionSpec
from brokers.worst_price import describe_worst_price
from common.errors import InvalidInputError, MisconfiguredError
from common.sql import rows
from connections.models import DataConnection


def default_capabilities(broker_type: str, exchange_name: str = "") -> Capabilities | None:
    """Return what accounts of a kind can do; None where its package is gone from this process, or
    broken: nobody could ask it."""
    spec = ConnectionSpec(connection_id="", account="", exchange_name=exchange_name)
    try:
        return capabilities_of(broker_type, spec)
    except (InvalidInputError, ImportError, AttributeError, MisconfiguredError):
        return None


def slippage_rule(broker_type: str, exchange_name: str) -> str:
    """Return what an account of a kind does with a slippage limit, as a sentence; '' where its
    package is not in this process."""
    can = default_capabilities(broker_type, exchange_name)
    return "" if can is None else describe_worst_price(can)


def needs_external_prices(broker_type: str) -> bool:
    """Whether accounts of a kind trade on prices that we tell their broker ourselves."""
    can = default_capabilities(broker_type)
    return can is not None and not can.own_prices


def lock_shared_source(source_id: int, *, to_change: bool = False) -> None:
    """Until the transaction ends, keep an offer from being taken back; to_change: keep others from
    choosing it meanwhile. Whose a source is counts as it is read after this."""
    way = "" if to_change else "_shared"  # tenants may lock no row of the operators'
    offer = f"offer of price source {source_id}"
    rows(f"SELECT pg_advisory_xact_lock{way}(hashtextextended(%s, 0))", (offer,))


def is_compatible(source: DataConnection, broker_type: str) -> bool:
    """Whether accounts of a kind can trade on a source's prices."""
    is_private = source.kind == DataConnection.Kind.BROKER and source.user_id is not None
    return not (is_private and needs_external_prices(broker_type))


def compatible_sources(
    sources: QuerySet[DataConnection], broker_type: str, *, kept: int | None = None
) -> QuerySet[DataConnection]:
    """Leave out what accounts of a kind cannot trade on. kept: one that is chosen already stays a
    choice."""
    if not needs_external_prices(broker_type):
        return sources
    return sources.filter(~Q(kind=DataConnection.Kind.BROKER) | Q(user=None) | Q(pk=kept))
