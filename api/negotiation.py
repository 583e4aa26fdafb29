"""Chooses the representation of an answer."""

from collections.abc import Iterable

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer


class Negotiation(DefaultContentNegotiation):
    """As `Accept` or `?format=` asks."""

    def filter_renderers(
        self, renderers: Iterable[BaseRenderer], format: str
    ) -> list[BaseRenderer]:
        """Return the renderers of a format. Raises NotAcceptable, where DRF says "not found"."""
        offered = list(renderers)
        found = [renderer for renderer in offered if renderer.format == format]
        if not found:
            raise NotAcceptable(available_renderers=offered)
        return found
