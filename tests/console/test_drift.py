"""Drift items in the console: pages compare both sides, and decisions are confirmed."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.permissions import Role
from execution import tasks
from execution.models import AccountSyncState, DriftItem, ExecutionLog
from tests.html import html_of
from tests.roles import staff


def page_of(item: DriftItem, action: str = "page") -> str:
    return reverse(f"admin:execution_driftitem_{action}", args=[item.pk])


@pytest.fixture
def items(world: dict[str, Any], client: Client) -> dict[str, DriftItem]:
    client.force_login(world["operator"])
    return {item.kind: item for item in DriftItem.objects.all()}


def test_page_compares_both_sides_and_offers_applicable_decisions(
    items: dict[str, DriftItem], client: Client
) -> None:
    html = html_of(client.get(page_of(items["QUANTITY_DIFFERS"])))
    assert "<strong>60,000</strong>" in html
    assert "<strong>50,000</strong>" in html
    assert "Take the broker’s quantity…" in html
    assert page_of(items["QUANTITY_DIFFERS"], "close") not in html  # the broker has less than we do
    inbox = html_of(client.get(reverse("admin:execution_driftitem_changelist")))
    ours = items["QUANTITY_DIFFERS"].position_id
    number = items["QUANTITY_DIFFERS"].evidence["broker_position_id"]
    subject = f"Buy EURUSD, P-{ours}, {number} at the broker"
    assert f"{subject}: quantity 60,000 ≠ 50,000" in inbox
    assert f"<strong>{subject}</strong>" in html
    assert "Check the broker&#x27;s statement. Adopt: the broker&#x27;s quantity counts." in html


def test_decision_is_confirmed_and_stored(items: dict[str, DriftItem], client: Client) -> None:
    item = items["LEVELS_DIFFER"]
    question = html_of(client.get(page_of(item, "adopt")))
    assert "Take the broker’s levels?" in question
    assert DriftItem.objects.get(pk=item.pk).state == "OPEN"
    assert client.post(page_of(item, "adopt")).status_code == 302
    item.refresh_from_db()
    assert (item.state, item.decision) == ("RESOLVED", "ADOPT")
    html = html_of(client.get(page_of(item)))
    assert "Adopt the broker" in html
    assert page_of(item, "adopt") not in html
    assert ExecutionLog.objects.filter(code="DRIFT_DECIDED").count() == 1


def test_ignoring_needs_a_reason(items: dict[str, DriftItem], client: Client) -> None:
    item = items["UNKNOWN_POSITION"]
    assert client.post(page_of(item, "ignore"), {"reason": ""}).status_code == 200
    client.post(page_of(item, "ignore"), {"reason": "The owner's own hedge."})
    item.refresh_from_db()
    assert (item.state, "own hedge" in item.resolution) == ("IGNORED", True)


def test_refused_decision_states_its_reason(items: dict[str, DriftItem], client: Client) -> None:
    item = items["UNKNOWN_POSITION"]
    response = client.post(page_of(item, "relink"), {"position": "999999"}, follow=True)
    assert "DRIFT_TARGET_NOT_APPLICABLE" in html_of(response)
    item.refresh_from_db()
    assert item.state == "OPEN"


def test_reconciliation_is_requested_by_hand(
    items: dict[str, DriftItem], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_enqueue_reconciliation", lambda: None)
    connection = items["UNKNOWN_POSITION"].connection_id
    path = reverse("admin:connections_executionconnection_compare", args=[connection])
    assert client.get(path).status_code == 302
    assert not AccountSyncState.objects.exclude(reconcile_requested_at=None).exists()
    client.post(path)
    assert AccountSyncState.objects.get(pk=connection).reconcile_requested_at is not None


def test_support_cannot_decide(
    items: dict[str, DriftItem], client: Client, django_user_model: Any
) -> None:
    client.force_login(staff(Role.SUPPORT, name="reader"))
    item = items["UNKNOWN_POSITION"]
    assert page_of(item, "adopt") not in html_of(client.get(page_of(item)))
    for action in ("adopt", "relink", "close", "ignore"):
        assert client.post(page_of(item, action)).status_code == 403


def test_page_of_an_account_counts_its_open_differences(
    items: dict[str, DriftItem], client: Client
) -> None:
    item = items["QUANTITY_DIFFERS"]
    address = reverse("admin:connections_executionconnection_page", args=[item.connection_id])
    assert "1 open difference<" in html_of(client.get(address))
    DriftItem.objects.create(
        kind="POSITION_MISSING", connection=item.connection, key="other", evidence=item.evidence
    )
    assert "2 open differences<" in " ".join(html_of(client.get(address)).split())
    DriftItem.objects.filter(connection=item.connection).update(state=DriftItem.State.IGNORED)
    assert "no open differences" in html_of(client.get(address))
