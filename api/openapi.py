"""Adds the scope that an API key needs to each operation of the OpenAPI schema."""

from drf_spectacular.openapi import AutoSchema

from api.permissions import needed_by, scope_of


class ScopedSchema(AutoSchema):
    """drf-spectacular's schema with the scope of each operation."""

    def get_description(self) -> str:  # type: ignore[override]  # the stubs are another version
        """Append the scope to the view's own description; public operations take no key."""
        description: str = super().get_description() or ""
        if not self.get_auth():
            return description
        scope = scope_of(self.method, needed_by(self.view, self.method))
        name = f"`{scope.value}`" if scope else "none: not with a key"
        return f"{description}\n\nScope of an API key: {name}.".strip()
