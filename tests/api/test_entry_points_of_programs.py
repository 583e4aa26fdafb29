"""Every field of a signal at every entry point of programs: it has an effect."""

import pytest

from signals.models import Feed
from tests.api.entry_fields import feed, walk_fields
from tests.api.entry_points import ENTRY_POINTS
from tests.api.factories import World
from tests.matrix import WALK_TIME

__all__ = ["feed"]


@pytest.mark.parametrize("entry_point", [name for name in ENTRY_POINTS if "form" not in name])
@WALK_TIME
def test_entry_point_takes_every_field_with_effect(
    world: World, feed: Feed, entry_point: str
) -> None:
    walk_fields(world, feed, entry_point)
