"""What the models of entries start from: a broker that takes few kinds, and a routed account."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from brokers.types import ExitSafety, TimeInForce
from common.failpoints import arm
from connections.models import AccountSnapshot
from connections.services import RouteAccount, set_route
from execution.runtime import trading_runtime
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker


@pytest.fixture
def routed_world(
    transactional_db: None,
    runtime: trading_runtime.TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, Any]]:
    """Yield the arguments of a model: of its three accounts the first may enter on the last."""
    limit_broker(broker, monkeypatch, times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC}))
    factories.instrument()
    feed = make.feed()
    routed, other = factories.account(feed), factories.account(feed)
    spare = factories.account(owner=routed.user)
    accounts = [RouteAccount(routed.pk), RouteAccount(spare.pk)]
    set_route(routed.subscriptions.get().pk, by=routed.user, policy="HEALTH", accounts=accounts)
    yield {"broker": broker, "accounts": [routed, other, spare], "feed": feed}
    arm([])


def limit_broker(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, **taken: Any) -> None:
    usual = broker.capabilities
    monkeypatch.setattr(broker, "capabilities", lambda spec: replace(usual(spec), **taken))


def of_mode(mode: str) -> dict[str, Any]:
    """Let all accounts net positions, or none; return the model's arguments for it."""
    AccountSnapshot.objects.update(position_mode=mode)  # slices need one position
    return {"netting": True, "safety": ExitSafety.REDUCE_ONLY if mode == "NETTING" else None}
