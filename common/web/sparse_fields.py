"""`?fields=a,b`: an answer with only these fields."""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from common.errors import InvalidInputError
from common.reason_codes import Code

PARAMETER = "fields"


class SparseFields(APIView):
    """A view whose GET operations return only the fields that `?fields=` names.

    rows_in: the field of a page that has its objects; what else the page has stays.
    """

    rows_in: ClassVar[str] = "results"

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Leave out what was not asked for. 400 for a name that no object has."""
        if isinstance(response, Response) and response.status_code == 200:
            try:
                response.data = only_fields(response.data, wanted_fields(request), self.rows_in)
            except InvalidInputError as error:
                response = self.handle_exception(error)
        return super().finalize_response(request, response, *args, **kwargs)


def wanted_fields(request: Request | None) -> tuple[str, ...]:
    """Return the names in `?fields=` of a GET request; empty: all."""
    if request is None or request.method not in ("GET", "HEAD"):
        return ()
    names = request.query_params.get(PARAMETER, "").split(",")
    return tuple(dict.fromkeys(name for name in (text.strip() for text in names) if name))


def only_fields(data: Any, wanted: Sequence[str], rows_in: str = "results") -> Any:
    """Return an object, or each of a list or page, with these fields. Raises InvalidInputError."""
    if not wanted:
        return data
    if isinstance(data, dict) and isinstance(data.get(rows_in), list):
        return data | {rows_in: only_fields(data[rows_in], wanted)}
    objects = data if isinstance(data, list) else [data]
    if not objects or not isinstance(objects[0], dict):
        return data
    # One of a list may have fewer: of others' feeds, for example, less is shown.
    require_fields(wanted, dict.fromkeys(name for one in objects for name in one))
    found = [{name: value for name, value in one.items() if name in wanted} for one in objects]
    return found if isinstance(data, list) else found[0]


def require_fields(wanted: Sequence[str], available: Collection[str]) -> None:
    """Raise InvalidInputError, which names the fields that there are, for any other name."""
    unknown = [name for name in wanted if name not in available]
    if unknown:
        shown = ", ".join(repr(name[:40]) for name in unknown[:5])
        detail = f"There is no field {shown}. There are: {', '.join(available)}."
        raise InvalidInputError(Code.FIELD_UNKNOWN, detail, field=PARAMETER)


def drop_other_fields(serializer: Any, wanted: Sequence[str]) -> None:
    """Remove the fields that were not asked for from a serializer, so that none is computed."""
    one = getattr(serializer, "child", serializer)
    shown = [name for name, field in one.fields.items() if not field.write_only]
    require_fields(wanted, shown)
    for name in [name for name in one.fields if name not in wanted]:
        del one.fields[name]
