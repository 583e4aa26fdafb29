"""The Redis lists that hold the messages of a Celery queue: one for each message priority."""

MESSAGE_PRIORITIES = (0, 3, 6, 9)
"""The priorities that Celery's Redis transport keeps apart; the lowest is taken first."""


def queue_keys(queue: str) -> tuple[str, ...]:
    """Return the keys of a queue's lists, the one that is taken first at the front."""
    return tuple(
        queue if priority == 0 else f"{queue}\x06\x16{priority}" for priority in MESSAGE_PRIORITIES
    )
