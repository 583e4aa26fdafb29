"""A table of the API as a stream: CSV or JSON lines, row by row, by `format` or `Accept`.

Both have the same rows and columns. JSON lines have each value as it is in the API: a number as
text with all its digits, what is not known as null, a text without a spreadsheet's apostrophe.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import orjson
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from analytics.results.exports import Cell, Row, cell, csv_lines
from analytics.results.statistics import Figure
from common.web.sparse_fields import require_fields, wanted_fields
from common.web.streaming import StreamedResponse

FORMAT = OpenApiParameter(
    "format", str, enum=["json", "csv", "ndjson"],
    description="Or by `Accept: text/csv` or `application/x-ndjson`. Both are streamed, all rows at"
    " once.",
)  # fmt: skip

ONLY_STREAMED = OpenApiParameter(
    "format", str, enum=["csv", "ndjson"],
    description="Or by `Accept: application/x-ndjson`. Default: csv.",
)  # fmt: skip


class CsvRenderer(BaseRenderer):
    """Lets a client ask for text/csv. Views stream it themselves; errors stay problem details."""

    media_type, format, charset = "text/csv", "csv", "utf-8"

    def render(self, data: Any, *_: Any) -> bytes:
        return orjson.dumps(data, default=str)


class JsonLinesRenderer(CsvRenderer):
    """Lets a client ask for JSON lines: one object in each line."""

    media_type, format = "application/x-ndjson", "ndjson"


STREAMED = (CsvRenderer, JsonLinesRenderer)


def is_streamed(request: Request) -> bool:
    """Whether the client asks for a stream."""
    return isinstance(request.accepted_renderer, CsvRenderer)


def stream(request: Request, table: Iterable[Row], *, name: str) -> StreamedResponse:
    """Return the answer. table: its header first. name: of the file, without its ending.

    `fields` chooses columns. Raises InvalidInputError for one that the table does not have.
    """
    table = iter(table)
    header = [str(column) for column in next(table, ())]
    wanted = wanted_fields(request) if header else ()
    if wanted:
        require_fields(wanted, header)
    places = [n for n, column in enumerate(header) if not wanted or column in wanted]
    columns = [header[n] for n in places]
    rows = ([row[n] for n in places] for row in table)
    kind = request.accepted_renderer
    is_csv = kind.format != JsonLinesRenderer.format
    lines = csv_lines(chain([columns], rows)) if is_csv else json_lines(columns, rows)
    answer = StreamedResponse(
        lines, content_type="text/csv; charset=utf-8" if is_csv else kind.media_type
    )
    ending = "csv" if is_csv else "ndjson"
    answer["Content-Disposition"] = f'attachment; filename="fillcast-{name}.{ending}"'
    return answer


def json_lines(columns: Iterable[str], rows: Iterable[Row]) -> Iterator[str]:
    """Return each row as one JSON object and a line end."""
    names = list(columns)
    for row in rows:
        shown = dict(zip(names, map(exact_cell, row), strict=True))
        yield orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE).decode()


def exact_cell(value: Cell) -> str | int | None:
    """Return a value as the API has it."""
    if isinstance(value, Figure):
        value = value.value
    return value if value is None or isinstance(value, str | int) else cell(value)


def streamed(json: Any) -> dict[Any, Any]:
    """Return the documented answers of a view that also streams. json: its answer as JSON."""
    return {
        (200, "application/json"): json,
        (200, "text/csv"): OpenApiResponse(str, "All rows, streamed."),
        (200, "application/x-ndjson"): OpenApiResponse(str, "All rows, one object in each line."),
    }


def streamed_alone() -> dict[Any, Any]:
    """Return the documented answers of a view that only streams."""
    return {
        answer: shown for answer, shown in streamed(None).items() if answer[1] != "application/json"
    }
