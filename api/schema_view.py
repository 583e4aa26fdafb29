"""The OpenAPI schema as it is served: the same for everybody, so each process makes it once."""

import copy
from functools import cache
from threading import Lock
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

_lock = Lock()


class SchemaView(SpectacularAPIView):
    """Serves the schema. It needs no sign-in and no database.

    To make it takes seconds of a processor: more than a transaction may idle on a busy machine, and
    as much for each visitor.
    """

    authentication_classes: Any = ()

    def _get_schema_response(self, request: Request) -> Response:
        own: Any = self
        name = f'inline; filename="{own._get_filename(request, None)}"'
        return Response(copy.copy(kept_schema()), headers={"Content-Disposition": name})


def kept_schema() -> dict[str, Any]:
    """Return the schema of this process."""
    with _lock:  # of several first visitors one makes it
        return _schema()


@cache
def _schema() -> dict[str, Any]:
    generator: Any = SchemaGenerator
    made: dict[str, Any] = generator().get_schema(request=None, public=True)
    return made
