"""Whoever tells people dies before or after the message is out."""

import pytest

from tests.events.receiver import receiver
from tests.faults.place import Place, Story

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]
WAITING = "SELECT count(*) FROM events_delivery WHERE status = 'PENDING'"
SENT = "SELECT event_id FROM events_delivery WHERE status = 'SENT'"


@pytest.mark.parametrize(
    ("point", "messages_before"), [("delivery.claimed", 0), ("delivery.sent", 1)]
)
def test_messages_to_people_go_out_though_their_sender_died(
    place: Place, point: str, messages_before: int
) -> None:
    with receiver() as hook:
        place.hands.do("channel", url=hook.url())
        victim = place.fleet.worker("victim", "maintenance", faults=f"{point}:kill", wait=False)
        place.fleet.worker()
        place.quote()
        place.hands.do("publish", feed=50)
        place.settle()

        def rung() -> None:
            place.hands.do("send", name="events.deliver", arguments=[], queue="maintenance")

        def died() -> bool:
            rung()
            return not victim.alive

        place.wait(died, f"nobody came to {point}", 60)
        assert len(hook.journal) == messages_before
        story = Story(place)
        place.fleet.worker("successor", "maintenance")

        def told() -> bool:
            rung()
            return bool(place.ours.value(WAITING) == 0)

        place.wait(told, "not told", 60)
        story.end()
        sent = {row.event_id for row in place.ours.rows(SENT)}
        heard = {int(event["id"]) for message in hook.journal for event in events_of(message)}
        assert sent
        assert heard == sent


def events_of(message: dict[str, object]) -> list[dict[str, int]]:
    """The events that a message to machines tells of."""
    found = message["events"]
    assert isinstance(found, list)
    return found
