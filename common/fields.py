"""Model fields for trading."""

from typing import TYPE_CHECKING, Any

from django.db import models

from common.form_fields import AmountInput
from common.money import DIGITS, PLACES


class AmountField(models.DecimalField):  # type: ignore[type-arg]
    """numeric(38,18): money, prices and quantities (base units)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", DIGITS)
        kwargs.setdefault("decimal_places", PLACES)
        super().__init__(*args, **kwargs)

    def formfield(self, form_class: Any = None, choices_form_class: Any = None, **more: Any) -> Any:
        """Return an input that reads only plain digits, on every page."""
        more |= {"form_class": form_class or AmountInput, "choices_form_class": choices_form_class}
        return super().formfield(**more)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_digits", None)
        kwargs.pop("decimal_places", None)
        return name, path, list(args), dict(kwargs)


if TYPE_CHECKING:
    ChoiceField = models.CharField  # whose type of a value depends on the arguments
else:

    class ChoiceField(models.CharField):
        """A text of a list. The list is not in migrations: a new choice needs none."""

        def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
            name, path, args, kwargs = super().deconstruct()
            kwargs.pop("choices", None)
            return name, path, list(args), dict(kwargs)
