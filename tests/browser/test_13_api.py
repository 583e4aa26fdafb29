"""Item 13, the API: a key by clicks, then a generated Python client trades on the running stack.

What the client asks for is done by the stack's own workers, at the paper broker.
"""

import json
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.api.generated_client import Modules, generate, imported
from tests.browser.acts import PASSWORD, expect_in_order, make_key
from tests.browser.devices import ITEM_DEVICES
from tests.browser.trading import mid_price
from tests.browser.visits import Device, Visit

SECONDS = 90


@pytest.fixture(scope="session")
def api(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modules]:
    """Return a function that imports a module of the client of the running demo."""
    package, _ = generate(demo, tmp_path_factory.mktemp("client"))
    with imported(package) as modules:
        yield modules


def wait_for(read: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
    """Read again until the workers have done it; return what was read."""
    end = time.monotonic() + SECONDS
    while not is_so(found := read()):
        assert time.monotonic() < end, found
        time.sleep(0.3)
    return found


class Trader:
    """A person's program: the generated client with their key."""

    def __init__(self, api: Modules, url: str, key: str) -> None:
        self.models = api(".models")
        self._api = api
        self.client = api("").AuthenticatedClient(
            url, token=key, timeout=httpx.Timeout(60), raise_on_unexpected_status=True
        )

    def call(self, name: str, *path: Any, **arguments: Any) -> Any:
        """Call an operation by `group.name`; its answer is no refusal."""
        found = self._api(f".api.{name}").sync(*path, client=self.client, **arguments)
        assert not isinstance(found, self.models.Problem), found
        return found

    def subscribed(self) -> tuple[Any, Any]:
        """Open a paper account, see its test pass, give it a preset and a feed of one's own."""
        models = self.models
        account = self.call(
            "connections.create_paper_connection", idempotency_key="account",
            body=models.PaperAccountRequest(name="By program"),
        )  # fmt: skip
        wait_for(
            lambda: self.call("connections.get_connection", account.id),
            lambda one: one.health.status == "ACTIVE" and one.snapshot,
        )
        preset = self.call("presets.list_presets").results[0]
        self.call(
            "connections.update_connection", account.id,
            body=models.PatchedConnectionRequest(preset=preset.id),
        )  # fmt: skip
        name = f"Program {account.id}"
        feed = self.call("feeds.create_feed", body=models.FeedRequest(name=name, is_public=False))
        self.call(
            "subscriptions.create_subscription",
            body=models.SubscriptionRequest(connection=account.id, feed=feed.slug),
        )
        return account, feed

    def buy(self, feed: str, stop: str) -> Any:
        """Publish a buy of EUR/USD at market; sent twice, as after a lost answer."""
        body = self.models.NewSignalRequest(
            feed=feed, symbol="EURUSD", direction=self.models.DirectionEnum.BUY, sl=stop
        )
        first, again = (
            self.call("signals.create_signal", body=body, publish=True, idempotency_key="buy")
            for _ in range(2)
        )
        assert first.id == again.id
        return first


@ITEM_DEVICES
def test_a_generated_client_trades_on_the_running_stack(
    visit: Visit, device: Device, newcomer: str, demo: str, api: Modules
) -> None:
    visit.arrive(newcomer, PASSWORD)
    program = Trader(api, demo, make_key(visit.page, "generated client"))
    account, feed = program.subscribed()
    signal = program.buy(feed.slug, f"{mid_price(visit.page) - 0.01:.4f}")
    [entry] = wait_for(
        lambda: program.call("orders.list_orders", signal=signal.id).results,
        lambda orders: all(order.status == "FILLED" for order in orders),
    )
    assert (entry.connection, entry.leg) == (account.id, "entry")
    assert Decimal(entry.filled_quantity) == Decimal(entry.quantity) > 0
    [position] = wait_for(
        lambda: program.call("positions.list_positions", open_=True).results, bool
    )
    assert (position.signal, position.quantity) == (signal.id, entry.filled_quantity)
    visit.page.goto("/positions/")
    expect(visit.page.locator("#live tbody tr")).to_contain_text("EUR/USD")
    expect_in_order(visit, "traded-by-a-program")

    program.call(
        "positions.close_position", position.id, idempotency_key="close",
        body=program.models.CloseRequest(),
    )  # fmt: skip
    closed = wait_for(
        lambda: program.call("positions.get_position", position.id), lambda one: not one.is_open
    )
    stream = program.client.get_httpx_client().get(
        "/api/v1/history/trades/", headers={"Accept": "application/x-ndjson"}
    )
    [line] = [json.loads(text) for text in stream.text.splitlines()]
    assert line["position"] == closed.number
    assert Decimal(line["net"]) == Decimal(closed.realized_pnl) - Decimal(closed.commission)
