"""What this room tells the rooms above it. Receivers run inside the sender's transaction."""

from typing import Any

from django.dispatch import Signal as DjangoSignal


class TypedSignal(DjangoSignal):
    """A Django signal whose receivers get the trading signal as `signal`.

    Django hands each receiver *itself* under that name; here the word means what it means in this
    project. Whatever a receiver raises goes to the sender, and takes its transaction back.
    """

    def send(self, sender: Any, **named: Any) -> list[tuple[Any, Any]]:
        """Call every receiver with `sender` and what is named, `signal` among it."""
        receivers, _ = self._live_receivers(sender)  # the async ones cannot share a transaction
        return [(receiver, receiver(sender=sender, **named)) for receiver in receivers]


# Sent with `signal: Signal`, already stamped. A receiver that fails takes the publication back.
signal_published = TypedSignal()

# Sent with `signal: Signal` when a signal that was already published is cancelled: what is not yet
# filled has to be withdrawn. Signals that were never published have nothing to withdraw.
signal_cancelled = TypedSignal()
