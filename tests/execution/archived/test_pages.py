"""Pages, the API and exports state archived orders: no figure is silently another one."""

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from analytics.history.rows import HISTORY, HistoryFilter
from analytics.orders.followers import results_of
from analytics.orders.scoped_results import scoped_result
from analytics.quality.entries import execution_quality
from connections.models import ExecutionConnection
from console.queries import candidates
from execution.models import Order, ScopedAction
from execution.own_log import log_of
from execution.services import cancel_order
from portal.selectors.signals import published_to, signal_history, signal_summaries
from tests.archive.rows import archive
from tests.connections import make
from tests.execution import factories
from tests.execution.archived.conftest import Past
from tests.html import html_of
from tests.portal.conftest import as_web_process
from users.models import User

pytestmark = pytest.mark.django_db


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def owner(past: Past) -> User:
    """Of the account whose entry was rejected."""
    user = past.rejected.connection.user
    assert user is not None
    return user


@pytest.fixture
def root(db: None) -> User:
    return make.user("root", is_staff=True, is_superuser=True)


def figures(past: Past, owner: User) -> dict[str, Callable[[], Any]]:
    """What is counted or listed of orders, by its name."""
    since = timezone.now() - timedelta(days=1000)
    action = ScopedAction.objects.create(
        user=owner, at=past.filled.created_at, cancels_entries=True, closes_positions=False,
        scope={}, scope_name="all", cancelled=[past.denied.pk, past.rejected.pk],
        ended=[past.filled.pk],
    )  # fmt: skip
    return {
        "feed results": lambda: results_of([past.signal])[past.signal.pk],
        "console": lambda: [
            (c.candidates, c.shares, c.broker_types, c.reasons, c.progress, c.adds_up)
            for c in [candidates.counts(past.signal)]
        ],
        "quality": lambda: execution_quality(since, timezone.now()),
        "quality of one": lambda: execution_quality(
            since, timezone.now(), connection_ids=[past.denied.connection_id]
        ),
        "portal list": lambda: [
            (one.signal.pk, one.shares)
            for one in signal_summaries(owner, list(published_to(owner)))
        ],
        "portal signal": lambda: signal_history(owner, past.signal).summary.breakdown,
        "scoped action": lambda: (lambda r: (r.entries, r.exits, len(r.lines) + r.more))(
            scoped_result(action)
        ),
        "own log": lambda: list(log_of(owner)),
    }


def test_figures_are_the_same_before_and_after(past: Past, owner: User, folder: Path) -> None:
    shown = figures(past, owner)
    before = {name: figure() for name, figure in shown.items()}
    assert before["portal list"] == [(past.signal.pk, {"rejected": 1})]
    assert before["console"][0][1]["filled"] == 1
    assert before["quality"][0].candidates == 4
    assert archive("orders", folder) == 3
    assert {name: figure() for name, figure in shown.items()} == before
    assert candidates.counts(past.signal).archived == 3


def exported(client: Client, table: str) -> list[dict[str, str]]:
    response: Any = client.get(f"/history/{table}.csv")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_history_has_archived_orders(past: Past, owner: User, folder: Path) -> None:
    client = signed_in(owner)
    before = {table: exported(client, table) for table in ("orders", "signals", "trades")}
    assert [row["order"] for row in before["orders"]] == [f"O-{past.rejected.pk}"]
    archive("orders", folder)
    after = {table: exported(client, table) for table in before}
    assert after["orders"][0].pop("detail") == "its row is in the archive"
    before["orders"][0].pop("detail")
    assert after == before
    for query in ("", f"?q=S-{past.signal.pk}", "?state=REJECTED", "?before=99999999999"):
        assert f"O-{past.rejected.pk}" in html_of(client.get(f"/history/orders/{query}"))


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_pages_of_the_history_have_the_same_orders(
    past: Past, owner: User, folder: Path, limit: int
) -> None:
    """Archived ones stand among those that traded, and behind a young one."""
    accounts = (past.filled, past.denied, past.skipped)
    ids = [order.connection_id for order in accounts]
    ExecutionConnection.objects.filter(pk__in=ids).update(user=owner)
    young = factories.signal(past.signal.feed)

    def pages() -> list[list[int]]:
        found, wanted = [], HistoryFilter()
        while keys := [
            row["key"] for row in HISTORY["orders"].page(owner, wanted, limit=limit)
        ]:  # fmt: skip
            found.append(keys)
            wanted = HistoryFilter(before=keys[-1])
        return found

    before = pages()
    assert {*past.without_fill, *past.traded} < {key for keys in before for key in keys}
    assert Order.objects.filter(signal=young).count() == 4
    archive("orders", folder)
    assert pages() == before


def test_portal_states_that_an_order_is_in_the_archive(
    past: Past, owner: User, folder: Path
) -> None:
    archive("orders", folder)
    client = as_web_process(signed_in(owner))  # under row-level security
    page = html_of(client.get(f"/signals/{past.signal.pk}/"))
    assert f"manage.py read_archive orders --order O-{past.rejected.pk}" in page
    assert not re.search(rf"O-{past.skipped.pk}\b", page)  # another user's
    assert "1 rejected" in html_of(client.get("/signals/"))
    for path in ("/", f"/accounts/{past.rejected.connection_id}/", "/orders/"):
        assert client.get(path).status_code == 200, path
    assert client.get(f"/orders/{past.rejected.pk}/cancel/").status_code == 404


def test_console_states_that_orders_are_in_the_archive(
    past: Past, root: User, folder: Path
) -> None:
    archive("orders", folder)
    client = signed_in(root)
    order = html_of(client.get(f"/admin/execution/order/{past.denied.pk}/"))
    assert f"manage.py read_archive orders --order O-{past.denied.pk}" in order
    assert "denied on" in order
    assert client.get("/admin/execution/order/999999/").status_code == 404
    path = f"/admin/signals/signal/{past.signal.pk}/"
    page = html_of(client.get(path))
    assert "3 orders are in the archive" in page
    assert f"read_archive orders --signal S-{past.signal.pk}" in page
    assert "Doesn’t add up" not in page
    assert "1 + 1 + 1 + 1 = 4" in page
    assert client.get(f"{path}?state=denied").status_code == 200


def test_export_of_candidates_has_archived_orders(past: Past, root: User, folder: Path) -> None:
    client = signed_in(root)
    path = f"/admin/signals/signal/{past.signal.pk}/candidates.csv"

    def lines(query: str = "") -> dict[str, tuple[str, ...]]:
        names = ("broker_type", "state", "code", "quantity", "filled", "ack_ms", "client_order_id")
        text = client.get(path + query).content.decode()
        return {
            row["connection"]: tuple(row[name] for name in names)
            for row in csv.DictReader(io.StringIO(text))
        }

    queries = ("", "?state=denied", "?state=filled", f"?q={past.rejected.client_order_id}",
               f"?reason={past.denied.reason}")  # fmt: skip
    before = [lines(query) for query in queries]
    assert [len(found) for found in before] == [4, 1, 1, 1, 1]
    archive("orders", folder)
    assert [lines(query) for query in queries] == before


def test_api_states_that_an_order_is_in_the_archive(
    past: Past, owner: User, root: User, folder: Path
) -> None:
    archive("orders", folder)
    path = f"/api/v1/orders/{past.rejected.pk}/"
    for user in (owner, root):
        answer = signed_in(user).get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "ORDER_ARCHIVED")
        assert f"O-{past.rejected.pk}" in answer.json()["detail"]
    assert signed_in(owner).post(f"{path}cancel/").json()["code"] == "ORDER_ARCHIVED"
    other = past.skipped.connection.user
    assert other is not None
    assert signed_in(other).get(path).json()["code"] == "NOT_FOUND"
    assert signed_in(owner).get("/api/v1/orders/").json()["results"] == []
    assert signed_in(owner).get(f"/api/v1/signals/{past.signal.pk}/").status_code == 200


def test_services_refuse_what_is_archived(past: Past, folder: Path) -> None:
    archive("orders", folder)
    with pytest.raises(Order.DoesNotExist):
        cancel_order(past.rejected.pk)


def command(name: str, *arguments: str) -> str:
    output = io.StringIO()
    call_command(name, *arguments, stdout=output, stderr=output)
    return output.getvalue()


def test_commands_read_and_explain_archived_orders(past: Past, folder: Path) -> None:
    assert "orders: 3 rows would be archived." in command(
        "archive", "--dry-run", "--kind", "orders"
    )
    assert "orders: 3 rows archived." in command("archive", "--now", "--kind", "orders")
    for arguments, expected in (
        (("--signal", f"S-{past.signal.pk}"), past.without_fill),
        (("--account", str(past.denied.connection_id)), [past.denied.pk]),
        (("--order", f"O-{past.skipped.pk}"), [past.skipped.pk]),
        (("--order", f"O-{past.filled.pk}"), []),
    ):
        printed = command("read_archive", "orders", *arguments, "--format", "json")
        found = [json.loads(line)["id"] for line in printed.splitlines() if line.startswith("{")]
        assert found == expected, arguments
    with pytest.raises(CommandError, match=f"O-{past.denied.pk}.*in the archive"):
        command("explain", f"O-{past.denied.pk}")


def test_young_signals_cost_no_statement_more(
    past: Past, folder: Path, django_assert_num_queries: Any
) -> None:
    past.signal.published_at = timezone.now()
    with django_assert_num_queries(1):
        candidates.counts(past.signal)
