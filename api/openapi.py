"""Each operation of the schema names the scope that an API key needs for it."""

from drf_spectacular.openapi import AutoSchema

from api.permissions import needed_by, scope_of


class ScopedSchema(AutoSchema):
    """drf-spectacular's, with a sentence more."""

    def get_description(self) -> str:  # type: ignore[override]  # the stubs are another version
        """Append the scope to the view's own description; public operations take no key."""
        said: str = super().get_description() or ""
        if not self.get_auth():
            return said
        scope = scope_of(self.method, needed_by(self.view, self.method))
        name = f"`{scope.value}`" if scope else "none: not with a key"
        return f"{said}\n\nScope of an API key: {name}.".strip()
