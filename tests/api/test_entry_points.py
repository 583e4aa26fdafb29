"""Every field of a signal in every form: it has an effect; and what entry points leave out."""

import pytest

from signals.models import Feed
from signals.reading.field_table import BY_NAME, LEFT_OUT, MODIFIABLE, EntryPoint
from signals.serializers.drafts import NewSignalSerializer
from tests.api.entry_fields import EXAMPLES, NOT_STORED, feed, walk_fields, written
from tests.api.entry_points import ENTRY_POINTS
from tests.api.factories import World
from tests.matrix import WALK_TIME, Walk

__all__ = ["feed"]


def test_table_has_the_fields_of_the_api() -> None:
    assert set(NewSignalSerializer().fields) == set(BY_NAME)
    assert set(EXAMPLES) | NOT_STORED == set(BY_NAME)
    for entry_point in EntryPoint:
        assert set(LEFT_OUT[entry_point]) <= set(BY_NAME), entry_point
        assert all(LEFT_OUT[entry_point].values()), entry_point
    assert set(MODIFIABLE) == {
        "sl", "stop_loss", "tp", "take_profit", "targets", "open_price", "price", "stop_price",
        "close_at", "close_when_signal", "close_when_signal_external_id", "close_when_state",
        "valid_until", "valid_for", "price_limit",
    }  # fmt: skip


@pytest.mark.parametrize("entry_point", [name for name in ENTRY_POINTS if "form" in name])
@WALK_TIME
def test_entry_point_takes_every_field_with_effect(
    world: World, feed: Feed, entry_point: str
) -> None:
    walk_fields(world, feed, entry_point)


@WALK_TIME
def test_entry_points_refuse_what_they_leave_out(world: World, feed: Feed) -> None:
    """A field that is not on a form cannot be sent."""
    values = {"close_fraction": "0.5", "refers_to": "1", "refers_to_external_id": "first"}
    with Walk() as walk:
        for entry_point, (kind, send) in walk.each(ENTRY_POINTS.items()):
            for name in LEFT_OUT[kind] if "form" not in entry_point else ():
                sent = EXAMPLES[name][0] if name in EXAMPLES else {name: values[name]}
                sent = {"action": "CLOSE"} if name == "action" else sent
                with walk.cell(name, entry_point) as cell:
                    faults = send(world, feed, written(sent, entry_point))
                    fault = ("FIELD_INVALID", BY_NAME[name].column or name)
                    cell.expect({fault}, faults & {fault}, f"of the faults {faults}")
