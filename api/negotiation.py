"""Chooses the representation of an answer."""

from collections.abc import Iterable, Sequence

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer


class Negotiation(DefaultContentNegotiation):
    """As `Accept` or `?format=` asks."""

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> Sequence[BaseRenderer]:
        """Return the renderers of a format. Raises NotAcceptable, where DRF says "not found"."""
        found = [renderer for renderer in renderers if renderer.format == format]
        if not found:
            raise NotAcceptable(available_renderers=renderers)
        return found
