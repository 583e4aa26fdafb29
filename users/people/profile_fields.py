"""Form fields of a person's own data, for sign-up and the profile page."""

from functools import cache

from django import forms

from common.names import one_line
from common.time_zones import time_zones


class FullNameField(forms.CharField):
    """A person's name in any script; it may be long."""

    def __init__(self) -> None:
        super().__init__(
            label="Full name",
            required=False,
            max_length=255,
            validators=[one_line],
            widget=forms.TextInput(attrs={"autocomplete": "name", "dir": "auto"}),
            help_text="Optional, as you write it, up to 255 characters.",
        )


class TimeZoneField(forms.ChoiceField):
    """A time zone of the list that this machine knows."""

    def __init__(self) -> None:
        super().__init__(
            label="Time zone",
            choices=zone_choices,
            initial="UTC",
            help_text="Times on pages are in it. Orders and limits do not depend on it.",
        )


@cache
def zone_choices() -> tuple[tuple[str, str], ...]:
    """Return the time zones that people choose from: UTC, then by continent and city."""
    places = ("Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe",
              "Indian", "Pacific")  # fmt: skip
    names = sorted(name for name in time_zones() if name.split("/")[0] in places)
    return (("UTC", "UTC"), *((name, name.replace("_", " ")) for name in names))
