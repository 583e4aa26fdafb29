"""Adds to each operation of the OpenAPI schema its scope, its shared headers and its removal."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from api.headers import shared_parameters
from api.permissions import needed_by, scope_of
from common.deprecation import deprecation_of


class ScopedSchema(AutoSchema):
    """drf-spectacular's schema with what all operations of ours have in common."""

    def get_description(self) -> str:  # type: ignore[override]  # the stubs are another version
        """Append the scope to the view's own description; public operations take no key."""
        description: str = super().get_description() or ""
        if (notice := deprecation_of(self.view, self.method)) is not None:
            description = f"{description}\n\n{notice.sentence}".strip()
        if not self.get_auth():
            return description
        scope = scope_of(self.method, needed_by(self.view, self.method))
        name = f"`{scope.value}`" if scope else "none: not with a key"
        return f"{description}\n\nScope of an API key: {name}.".strip()

    def get_override_parameters(self) -> list[Any]:
        """Return the shared parameters; those of `extend_schema` are added to them."""
        own: list[Any] = super().get_override_parameters()
        return [*own, *shared_parameters(self.view, self.method, self.path)]

    def is_deprecated(self) -> bool:
        """Return whether the operation will be removed."""
        return deprecation_of(self.view, self.method) is not None or bool(super().is_deprecated())
