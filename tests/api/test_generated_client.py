"""A Python client generated from the schema that a real web process serves, and used against it.

docs/api-client.md is taken at its word: its example runs as it stands.
"""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.utils import timezone
from nacl.public import PrivateKey

from connections.models import ConnectionHealth, DataConnection, ExecutionConnection
from execution.models import Order
from tests.api.generated_client import generate, imported
from tests.api.schemas import operations
from tests.connections import make
from tests.web_process import WebProcess
from users.models import User
from users.services import create_api_key

pytestmark = [
    pytest.mark.processes,
    pytest.mark.usefixtures("inline_commits"),
    pytest.mark.exhaustive,
]
PAGE = (Path(__file__).parents[2] / "docs" / "api-client.md").read_text()
UNKNOWN_TO_IT = "Unsupported content type text/plain"  # the body of an alert that is no JSON
Function = Callable[..., Any]


@pytest.fixture(scope="module")
def process(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[WebProcess]:
    sealing = base64.b64encode(bytes(PrivateKey.generate().public_key)).decode()
    log = tmp_path_factory.mktemp("web") / "web.log"
    with (
        django_db_blocker.unblock(),
        WebProcess(log, FILLCAST_CREDENTIALS_PUBLIC_KEY=sealing) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def generated(process: WebProcess, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the generated package, and what the generator printed."""
    return generate(f"http://127.0.0.1:{process.port}", tmp_path_factory.mktemp("client"))


@pytest.fixture
def api(generated: tuple[Path, str]) -> Iterator[Callable[[str], Any]]:
    """Return a function that imports a module of the generated package."""
    with imported(generated[0]) as modules:
        yield modules


@pytest.fixture
def tenant() -> User:
    DataConnection.objects.create(name="Recorded quotes")
    make.preset(None, name="Fixed")
    return User.objects.create_user("tenant")


@pytest.fixture
def client(process: WebProcess, tenant: User, api: Callable[[str], Any]) -> Any:
    """The generated client of a tenant, with a key that it has created itself."""
    first = create_api_key(tenant, "first")[1]
    address = f"http://127.0.0.1:{process.port}"
    options = {"timeout": httpx.Timeout(60), "raise_on_unexpected_status": True}
    known = api("").AuthenticatedClient(address, token=first, **options)
    models = api(".models")
    body = models.NewApiKeyRequest(
        name="generated",
        scopes=[models.ScopesEnum(name) for name in ("read", "publish", "operate")],
        expires_at=timezone.now() + timedelta(days=30),
    )
    created = api(".api.api_keys.create_api_key").sync(client=known, body=body)
    assert created.key.name == "generated"
    return api("").AuthenticatedClient(address, token=created.secret, **options)


def settle_test(connection: str) -> None:
    """Store what the connection test stores, which a worker runs."""
    row = ExecutionConnection.objects.get(pk=connection)
    ConnectionHealth.objects.filter(pk=row.pk).update(
        status="ACTIVE", last_tested_at=timezone.now(), test_requested_at=None
    )
    make.ready(row)


def subscribed(client: Any, api: Callable[[str], Any]) -> tuple[Any, Any]:
    """Open a paper account and a feed by the client, and let the account take the feed."""
    models = api(".models")
    opened = api(".api.connections.create_paper_connection").sync_detailed(
        client=client, body=models.PaperAccountRequest(name="Practice"), idempotency_key="account"
    )
    assert opened.status_code == 201
    account = opened.parsed
    settle_test(str(account.id))
    [preset] = api(".api.presets.list_presets").sync(client=client).results
    account = api(".api.connections.update_connection").sync(
        str(account.id), client=client,
        body=models.PatchedConnectionRequest(preset=preset.id),
    )  # fmt: skip
    assert account.preset == preset.id
    feed = api(".api.feeds.create_feed").sync(
        client=client, body=models.FeedRequest(name="By hand", is_public=False)
    )
    assert (feed.slug, feed.approved_by_owner) == ("by-hand", True)
    made = api(".api.subscriptions.create_subscription").sync(
        client=client, body=models.SubscriptionRequest(connection=account.id, feed=feed.slug)
    )
    assert made.connection == account.id
    return account, feed


def publish(client: Any, api: Callable[[str], Any], key: str, **fields: Any) -> Any:
    models = api(".models")
    body = models.NewSignalRequest(
        **{"feed": "by-hand", "symbol": "EURUSD", "sl": "1.08", "tp": "1.1"} | fields,
        direction=models.DirectionEnum.BUY,
    )
    return api(".api.signals.create_signal").sync_detailed(
        client=client, body=body, publish=True, idempotency_key=key
    )


def test_client_has_every_operation(generated: tuple[Path, str]) -> None:
    folder, warnings = generated
    assert [line for line in warnings.splitlines() if "Unable" in line or "will not" in line] == []
    assert warnings.count("WARNING") == 1
    assert UNKNOWN_TO_IT in warnings
    modules = {path.stem for path in folder.glob("fillcast_client/api/*/*.py")}
    assert modules - {"__init__"} == set(operations())


def test_published_signal_becomes_an_order_once(client: Any, api: Callable[[str], Any]) -> None:
    account, _ = subscribed(client, api)
    first, again = (publish(client, api, "signal-1") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.parsed.to_dict() == again.parsed.to_dict()
    signal = first.parsed
    assert (signal.currency_pair, signal.sl, signal.is_published) == ("EUR/USD", "1.08", True)
    page = api(".api.orders.list_orders").sync(client=client, signal=signal.id)
    [order] = page.results
    assert (order.connection, order.signal, order.leg) == (account.id, signal.id, "entry")
    assert Order.objects.get().pk == order.id


def test_etags_save_an_answer_and_protect_a_change(client: Any, api: Callable[[str], Any]) -> None:
    subscribed(client, api)
    read, change = api(".api.feeds.get_feed"), api(".api.feeds.update_feed")
    seen = read.sync_detailed("by-hand", client=client)
    tag = seen.headers["ETag"]
    assert read.sync_detailed("by-hand", client=client, if_none_match=tag).status_code == 304
    body = api(".models").PatchedFeedRequest(description="Mine")
    changed = change.sync_detailed("by-hand", client=client, body=body, if_match=tag)
    assert (changed.status_code, changed.parsed.description) == (200, "Mine")
    other = api(".models").PatchedFeedRequest(description="Another")
    refused = change.sync_detailed("by-hand", client=client, body=other, if_match=tag)
    assert (refused.status_code, refused.parsed.code) == (412, "OBJECT_CHANGED")
    assert read.sync("by-hand", client=client).description == "Mine"


def test_pages_follow_by_cursor_and_fields_are_few(client: Any, api: Callable[[str], Any]) -> None:
    subscribed(client, api)
    published = [publish(client, api, f"signal-{n}").parsed.id for n in range(5)]
    found, cursor = [], api(".types").UNSET
    for size in (2, 2, 1):
        page = api(".api.signals.list_signals").sync(client=client, page_size=2, cursor=cursor)
        assert len(page.results) == size
        found += [signal.id for signal in page.results]
        cursor = httpx.URL(page.next_).params["cursor"] if page.next_ else None
    assert (cursor, found) == (None, sorted(published, reverse=True))
    raw = client.get_httpx_client().get("/api/v1/signals/", params={"fields": "id,number"})
    assert raw.json()["results"][0] == {"id": found[0], "number": f"S-{found[0]}"}


def test_refusals_are_problems(client: Any, api: Callable[[str], Any]) -> None:
    subscribed(client, api)
    refused = publish(client, api, "wrong", close_fraction="2").parsed
    assert isinstance(refused, api(".models").Problem)
    found = {(error.code, error.field) for error in refused.errors}
    assert (refused.status, found) == (400, {("FIELD_INVALID", "close_fraction")})
    hidden = api(".api.feeds.get_feed").sync("someone-elses", client=client)
    assert (hidden.status, hidden.code) == (404, "NOT_FOUND")
    trade = api(".api.orders.cancel_all_orders").sync(
        client=client, body=api(".models").ManyRequest()
    )
    assert (trade.status, trade.code) == (403, "RIGHT_MISSING")  # its key has no scope `trade`


@pytest.mark.django_db(transaction=True)
def test_example_of_the_page_works_as_it_stands(
    process: WebProcess, client: Any, api: Callable[[str], Any], generated: tuple[Path, str]
) -> None:
    subscribed(client, api)
    [example] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    environ = {
        **os.environ,
        "PYTHONPATH": str(generated[0]),
        "FILLCAST_URL": f"http://127.0.0.1:{process.port}",
        "FILLCAST_KEY": client.token,
    }
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", example],
            env=environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"O-\d+ Practice PENDING .*\n", done.stdout), done.stdout
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_generated_schema_is_the_one_that_make_client_writes(
    process: WebProcess, tmp_path: Path
) -> None:
    written = tmp_path / "openapi.json"
    subprocess.run(
        [sys.executable, "manage.py", "spectacular", "--format", "openapi-json",
         "--file", written],
        cwd=Path(__file__).parents[2], check=True, timeout=300, capture_output=True,
    )  # fmt: skip
    served = httpx.get(f"http://127.0.0.1:{process.port}/api/v1/schema/?format=json", timeout=60)
    assert json.loads(written.read_text()) == served.json()
