"""Fields of orders that several tests send, and how each entry point's sender writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.models import Feed, Signal
from tests.api.entry_points import (
    ENTRY,
    api,
)
from tests.api.factories import World

LATER = datetime(2099, 1, 2, 10, 30, tzinfo=UTC)
LIMIT = {"order_type": "LIMIT", "open_price": "1.1"}
STOP = {"order_type": "STOP", "stop_price": "1.12"}
TRAILING = {"order_type": "TRAILING_STOP", "trail_distance": "0.01"}
TWAP = {"execution_style": "TWAP", "duration_seconds": "600", "slice_count": "6"}


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed without followers, with an open trade, S-`first`."""
    Subscription.objects.all().delete()
    assert api(world, world.public, {**ENTRY, "external_id": "first"}) == set()
    Signal.objects.filter(external_id="first").update(published_at=market_now())
    return world.public


def written(sent: dict[str, Any], entry_point: str) -> dict[str, Any]:
    """Return the fields as this entry point's sender writes them."""
    first = str(Signal.objects.get(external_id="first").pk)
    values = {**ENTRY, **sent}
    if entry_point in ("API pair", "pair form") and "order_type" not in values:
        values |= LIMIT
    named = {
        name: first for name in ("after_signal", "close_when_signal") if values.get(name) == ""
    }
    return {
        name: value.strftime("%Y-%m-%dT%H:%M" + ("" if "form" in entry_point else "+00:00"))
        if isinstance(value, datetime)
        else value
        for name, value in (values | named).items()
        if value is not None
    }
