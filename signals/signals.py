"""Django signals to the apps above this one. Receivers run inside the sender's transaction."""

from typing import Any

from django.dispatch import Signal as DjangoSignal


class TypedSignal(DjangoSignal):
    """A Django signal whose receivers get the trading signal as `signal`.

    Django itself passes the Django signal under that name. An exception of a receiver reaches the
    sender, and rolls its transaction back.
    """

    def send(self, sender: Any, **named: Any) -> list[tuple[Any, Any]]:
        """Call every receiver with `sender` and the keyword arguments, including `signal`."""
        receivers, _ = self._live_receivers(sender)  # the async ones cannot share a transaction
        return [(receiver, receiver(sender=sender, **named)) for receiver in receivers]


# Sent with `signal: Signal` before it is published, outside of any transaction of `publish`. A
# receiver may wait for a moment.
publication_requested = TypedSignal()

# Sent with `signal: Signal`, already marked as published. A receiver that fails rolls it back.
signal_published = TypedSignal()

# Sent with `signal: Signal` when a published signal is cancelled: its unfilled orders must be
# cancelled. Unpublished signals have none.
signal_cancelled = TypedSignal()
