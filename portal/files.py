"""Tables that are downloaded from pages."""

from collections.abc import Iterable

from django.http import HttpResponse

from analytics.results.exports import Row, csv_lines
from common.web.streaming import StreamedResponse


def csv_file(rows: Iterable[Row], *, name: str) -> HttpResponse:
    """Return a table as a CSV, streamed. rows: its header first. name: without its ending."""
    answer = StreamedResponse(csv_lines(rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="fillcast-{name}.csv"'
    return answer  # type: ignore[return-value]  # the stubs know no common class
