"""Broker evidence: what a broker holds, read from the evidence stored with a drift item."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.conf import settings

from brokers.types import Side
from execution.reconciliation.compare_orders import is_ours


@dataclass(frozen=True, slots=True)
class BrokerEvidence:
    """What a broker holds, by a drift item's evidence. Quantities: base units; prices: quote."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    order_type: str = "MARKET"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_distance: Decimal | None = None
    client_order_id: str = ""
    broker_order_id: str = ""
    broker_position_id: str = ""
    opened_at: datetime | None = None
    has_levels: bool = True

    @property
    def is_ours(self) -> bool:
        """Whether it has a client order id of ours, so that the broker can be queried by it."""
        return is_ours(self.client_order_id, settings.FILLCAST_INSTALLATION_TAG)


def parse_evidence(
    evidence: Mapping[str, Any], *, quantity: Decimal | None = None
) -> BrokerEvidence:
    """Parse the evidence of a drift item. quantity: replaces the broker's whole quantity."""
    theirs = evidence["theirs"]
    opened = evidence.get("opened_at")
    return BrokerEvidence(
        symbol=evidence["symbol"],
        side=Side(theirs["side"]),
        quantity=quantity or Decimal(evidence.get("entered") or theirs["quantity"]),
        price=_price(theirs.get("entry_price")),
        stop_loss=_price(theirs.get("stop_loss")),
        take_profit=_price(theirs.get("take_profit")),
        order_type=theirs.get("order_type", "MARKET"),
        limit_price=_price(theirs.get("limit_price")),
        stop_price=_price(theirs.get("stop_price")),
        trail_distance=_price(theirs.get("trail_distance")),
        client_order_id=evidence.get("client_order_id", ""),
        broker_order_id=evidence.get("broker_order_id", ""),
        broker_position_id=evidence.get("broker_position_id", ""),
        opened_at=datetime.fromisoformat(opened) if opened else None,
        has_levels="stop_loss" in theirs and "take_profit" in theirs,
    )


def _price(text: str | None) -> Decimal | None:
    return Decimal(text) if text else None
