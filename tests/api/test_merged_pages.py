"""Pages of lists are merged from several accounts."""

import pytest

from common.db import newest_rows
from execution.models import Order
from tests.api.factories import World, order
from tests.api.reading import get
from tests.connections import make
from users.models import User


@pytest.mark.parametrize("ordering", ["", "&ordering=-id", "&ordering=id", "&ordering=-created_at"])
@pytest.mark.parametrize("most_owners", [100, 2])
def test_pages_of_several_accounts_are_merged_in_both_directions(
    world: World, ordering: str, most_owners: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each account's rows are found apart, unless there are many accounts."""
    monkeypatch.setattr(newest_rows, "MOST_OWNERS", most_owners)
    alice = User.objects.get(username="alice")
    *others, idle = (
        make.connection(alice, name=name, account=name) for name in ("2nd", "3rd", "4th", "idle")
    )
    mine = [
        order(account, world.published, f"entry-{n}").pk
        for n in range(5, 8)
        for account in (world.connection, *others)
    ]
    assert not Order.objects.filter(connection=idle).exists()
    expected = [world.pending.pk, *mine]
    if ordering != "&ordering=id":
        expected.reverse()
    page = get(world, f"orders/?page_size=4&status=PENDING{ordering}")
    first, seen = page, list[int]()
    while True:
        seen += [row["id"] for row in page["results"]]
        if not page["next"]:
            break
        page = world.client("alice").get(page["next"]).json()
    assert seen == expected
    while page["previous"]:
        page = world.client("alice").get(page["previous"]).json()
    assert page["results"] == first["results"]
