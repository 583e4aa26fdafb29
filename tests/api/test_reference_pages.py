"""The API reference: every operation with its scope, fields and example; for everybody."""

import pytest
from django.test import Client

from api.reference_rows import Operation, groups_of
from api.schema import operations
from api.schema_view import kept_schema
from tests.html import html_of

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def shown() -> dict[str, Operation]:
    """The operations by their ids."""
    groups = groups_of(kept_schema()).values()
    return {one.id: one for group in groups for one in group.operations}


def test_every_operation_is_shown_once(shown: dict[str, Operation]) -> None:
    described = [one for _, _, one in operations(kept_schema())]
    assert sorted(shown) == sorted(one["operationId"] for one in described)
    assert all(one.summary and one.answers for one in shown.values())
    assert all("Scope of an API key" not in one.description for one in shown.values())


def test_operation_has_its_scope_fields_and_examples(shown: dict[str, Operation]) -> None:
    cancel = shown["cancel_order"]
    assert (cancel.method, cancel.path, cancel.scope) == (
        "POST", "/api/v1/orders/{id}/cancel/", "trade",
    )  # fmt: skip
    assert [(one.name, one.place, one.is_required) for one in cancel.parameters][-1] == (
        "id", "path", True,
    )  # fmt: skip
    (done,) = [one for one in cancel.answers if one.status == "200"]
    assert '"number": "O-' in done.example
    subscribe = {one.name: one for one in shown["create_subscription"].body}
    assert "id" not in subscribe  # the server sets it
    assert (subscribe["expires_at"].type, subscribe["multiplier"].type) == (
        "date-time or null", "decimal",
    )  # fmt: skip
    assert set(subscribe["directions"].values) == {"BUY", "SELL", "BOTH"}
    assert shown["get_feed_record"].answer


def test_pages_are_open_to_visitors_and_lead_to_each_other(client: Client) -> None:
    index = html_of(client.get("/api/v1/docs/"))
    for group in groups_of(kept_schema()).values():
        assert f'href="/api/v1/docs/{group.name}/"' in index
    page = html_of(client.get("/api/v1/docs/orders/"))
    assert 'id="cancel_order"' in page
    assert "POST /api/v1/orders/{id}/cancel/" in page


def test_unknown_group_is_not_found(client: Client) -> None:
    assert client.get("/api/v1/docs/nothing/").status_code == 404


def test_reference_is_only_read(client: Client) -> None:
    assert client.post("/api/v1/docs/").status_code == 405
