"""A row that a request refers to, deleted by another session before the request's commit."""

from collections.abc import Callable

import pytest
from django.db import connection

from connections.decisions.services import delete_decision_provider
from connections.models import ExecutionConnection, TradingPreset
from connections.presets.services import delete_preset
from tests.api.factories import World
from tests.changes.races import meet
from tests.connections import make
from tests.decisions import provider_of

pytestmark = pytest.mark.django_db(transaction=True)
Case = tuple[Callable[[], None], str, dict[str, int]]


def preset(world: World) -> Case:
    row = make.preset(world.alice)
    chosen = {"preset": row.pk}
    return lambda: delete_preset(row.pk, by=None), f"connections/{world.connection.pk}/", chosen


def provider(world: World) -> Case:
    row = provider_of(world.alice)
    chosen = {"decision_provider": row.pk}
    path = f"presets/{make.preset(world.alice).pk}/"
    return lambda: delete_decision_provider(row.pk, by=None), path, chosen


@pytest.mark.parametrize("case", [preset, provider])
def test_request_that_chose_a_deleted_row_states_so(
    world: World, limits: Callable[..., None], case: Callable[[World], Case]
) -> None:
    """References are checked at its commit; it is tried again, and finds the row gone."""
    limits(lock_timeout=60_000)
    delete, path, chosen = case(world)

    def choose() -> str:
        answer = world.client("alice").patch(f"/api/v1/{path}", chosen, format="json")
        connection.close()
        return f"{answer.status_code} {answer.json().get('code', '')}"

    assert meet(delete, choose) == ("done", "400 FIELD_INVALID")
    stored = ExecutionConnection.objects.get(pk=world.connection.pk).preset_id
    assert stored == world.connection.preset_id
    assert not TradingPreset.objects.exclude(decision_provider=None).exists()
