"""The OpenAPI schema as it is served: the same for everybody, so each process makes it once."""

from functools import cache
from threading import Lock
from typing import Any

from django.http import HttpResponse
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import BaseRenderer

_lock = Lock()


class SchemaView(SpectacularAPIView):
    """Serves the schema. It needs no sign-in and no database.

    To make it takes seconds of a processor, and to write it as YAML as many: more than a
    transaction may idle on a busy machine, and more than each visitor may cost.
    """

    authentication_classes: Any = ()

    def _get_schema_response(self, request: Any) -> HttpResponse:
        own: Any = self
        renderer: BaseRenderer = request.accepted_renderer
        name = f'inline; filename="{own._get_filename(request, None)}"'
        with _lock:
            body = _written(type(renderer))  # type: ignore[arg-type]  # a class can be hashed
        kind = renderer.media_type + (f"; charset={renderer.charset}" if renderer.charset else "")
        return HttpResponse(body, content_type=kind, headers={"Content-Disposition": name})


def kept_schema() -> dict[str, Any]:
    """Return the schema of this process."""
    with _lock:  # of several first visitors one makes it
        return _schema()


@cache
def _schema() -> dict[str, Any]:
    generator: Any = SchemaGenerator
    made: dict[str, Any] = generator().get_schema(request=None, public=True)
    return made


@cache
def _written(renderer: type[BaseRenderer]) -> bytes:
    written: bytes = renderer().render(_schema(), renderer_context={})
    return written
