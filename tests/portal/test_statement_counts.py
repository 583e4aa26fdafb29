"""How many statements each page sends: few, whatever it shows. `make bench ONLY=pages` times them.

Statements of `common.db.sql` count as those of the ORM do.
"""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from connections.models import HaltMode, TradingPreset
from connections.services import set_kill_switch
from tests.loss_limits import limit_of, pause_of
from tests.matrix import WALK_TIME, Cell, Walk
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_access import OPEN, args, names
from tests.statements import sent_statements

MOST = 12
pytestmark = pytest.mark.usefixtures("private_feeds")


def sent_by(client: Client, address: str) -> tuple[int, list[str]]:
    """Open a page; return its status and the statements that it sent."""
    with sent_statements() as sent:
        answer: Any = client.get(address)
        b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, sent


def expect_few(cell: Cell, client: Client, address: str, *statuses: int) -> None:
    status, sent = sent_by(client, address)
    if len(sent) > MOST:  # some is read once in a process
        status, sent = sent_by(client, address)
    cell.expect_one(statuses, status, "a refusal sends few, whatever the page does")
    cell.expect_at_most(MOST, sent, "statements")


@WALK_TIME
def test_pages_send_few_statements(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each(name for name in names() if name not in OPEN):
            address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
            with walk.cell(name, "alice") as cell:
                expect_few(cell, client, address, 200, 302)


def test_pages_send_few_statements_when_all_is_limited(
    world: World, signed_in: SignedIn, request: pytest.FixtureRequest
) -> None:
    """A kill switch, a pause, a limit that counts trades, a preset with limits of a day."""
    set_kill_switch(
        scope="USER", mode=HaltMode.REDUCING, reason="test", by=world.alice, user_id=world.alice.pk
    )
    pause_of(world.mt5)
    limit_of(None, subscription=world.subscriptions[0], measure="REALIZED_LOSS", maximum=60)
    TradingPreset.objects.update(max_orders_per_minute=5, max_daily_volume=10**9)
    request.getfixturevalue("as_web")  # after what is written
    client = signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each(("account", "preset_edit", "preset_new", "overview", "positions")):
            address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
            with walk.cell(name, "alice") as cell:
                expect_few(cell, client, address, 200)
