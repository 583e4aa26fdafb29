"""The form field for an account's price source: its own broker comes first, if it has prices."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms.models import ModelChoiceIterator

from common.reason_codes import Code
from connections.market_data.compatibility import compatible_sources, needs_external_prices
from connections.market_data.sources import can_provide_prices
from connections.models import ExecutionConnection

OWN = "own"
OWN_LABEL = "This account’s own broker"


class _OwnFirst(ModelChoiceIterator):
    """Yields "no source", then the account's own broker, then the other sources."""

    def __iter__(self) -> Iterator[Any]:
        others = super().__iter__()
        if self.field.empty_label is not None:
            yield next(others)
        if getattr(self.field, "offers_own", False):
            yield (OWN, OWN_LABEL)
        yield from others


class SourceField(forms.ModelChoiceField):  # type: ignore[type-arg]  # it takes none at run time
    """A price source; its value is OWN for the account's own broker, and None for no source."""

    iterator = _OwnFirst
    offers_own = False

    def offer(self, broker_type: str, of: ExecutionConnection | None = None) -> None:
        """Offer the sources that a broker type can trade on. of: the account; None: a new one."""
        queryset = self.queryset
        assert queryset is not None
        queryset = compatible_sources(
            queryset, broker_type, source_in_use=of.data_connection_id if of else None
        )
        self.offers_own = can_provide_prices(broker_type, of.exchange_name if of else "")
        if self.offers_own and of is not None:
            queryset = queryset.exclude(broker_connection=of)
        self.queryset = queryset
        if needs_external_prices(broker_type):
            self.help_text = f"{self.help_text} {Code.PAPER_NEEDS_SHARED.sentence}".strip()

    def to_python(self, value: Any) -> Any:
        """Return OWN, a source or None. Raises ValidationError."""
        if value == OWN and self.offers_own:
            return OWN
        return super().to_python(value)

    def validate(self, value: Any) -> None:
        """Validate as Django does; OWN is valid where it is offered."""
        if value != OWN:
            super().validate(value)


def selected_source(connection: ExecutionConnection) -> Any:
    """Return the field's value for an account as it is now."""
    source = connection.data_connection
    return (
        OWN
        if source and source.is_active and source.broker_connection_id == connection.pk
        else source
    )
