"""Fields of the API that a browser's session may only send with a fresh second factor."""

from typing import Any

from rest_framework import serializers

from users.sign_in.session_factor import require_fresh


class FreshFactorMixin(serializers.Field):  # type: ignore[type-arg]  # of any value
    """For a field that is sealed or decides about access, in whichever serializer it is.

    The service that takes the value checks, too; the field asks before other values are judged.
    """

    def to_internal_value(self, data: Any) -> Any:
        """Return the value. Raises SecondFactorNeededError in a session with a stale factor."""
        if request := self.context.get("request"):
            require_fresh(request)
        return super().to_internal_value(data)


class SecretText(FreshFactorMixin, serializers.CharField):
    """A text that is stored encrypted and never shown: it is kept as it is typed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"write_only": True, "trim_whitespace": False, **kwargs})
