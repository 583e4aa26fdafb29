"""The sender of notifications dies before or after the message is sent."""

import pytest

from tests.events.receiver import receiver
from tests.faults.environment import FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
WAITING = "SELECT count(*) FROM events_delivery WHERE status = 'PENDING'"
SENT = "SELECT event_id FROM events_delivery WHERE status = 'SENT'"


@pytest.mark.parametrize(
    ("point", "messages_before"), [("delivery.claimed", 0), ("delivery.sent", 1)]
)
def test_notifications_are_sent_after_sender_died(
    environment: FaultEnvironment, point: str, messages_before: int
) -> None:
    with receiver() as hook:
        environment.operator.do("channel", url=hook.url())
        victim = environment.fleet.worker(
            "victim", "maintenance", faults=f"{point}:kill", wait=False
        )
        environment.fleet.worker()
        environment.quote()
        environment.operator.do("publish", feed=50)
        environment.settle()

        def enqueue_delivery() -> None:
            environment.operator.do(
                "send", name="events.deliver", arguments=[], queue="maintenance"
            )

        def died() -> bool:
            enqueue_delivery()
            return not victim.alive

        environment.wait(died, f"no process reached {point}", 60)
        assert len(hook.journal) == messages_before
        scenario = Scenario(environment)
        environment.fleet.worker("successor", "maintenance")

        def all_sent() -> bool:
            enqueue_delivery()
            return bool(environment.ours.value(WAITING) == 0)

        environment.wait(all_sent, "not sent", 60)
        scenario.end()
        sent = {row.event_id for row in environment.ours.rows(SENT)}
        received = {int(event["id"]) for message in hook.journal for event in events_of(message)}
        assert sent
        assert received == sent


def events_of(message: dict[str, object]) -> list[dict[str, int]]:
    """Return the events in a webhook message."""
    events = message["events"]
    assert isinstance(events, list)
    return events
