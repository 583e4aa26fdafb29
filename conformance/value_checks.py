"""Rules for every value that an adapter returns. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.types import ConnectionSpec, OrderReport, ReportKind


def wrong_shapes(value: Any, where: str = "") -> Iterator[str]:
    """Yield a message for each float, non-finite number and time that is not aware UTC."""
    if isinstance(value, float):
        yield f"{where} is a float"
    elif isinstance(value, Decimal):
        if not value.is_finite():
            yield f"{where} is {value}"
    elif isinstance(value, datetime):
        if value.utcoffset() != timedelta(0):
            yield f"{where} is {value}, not aware UTC"
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from wrong_shapes(getattr(value, one.name), f"{type(value).__name__}.{one.name}")
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from wrong_shapes(item, where)


def wrong_reports(reports: Iterable[OrderReport], spec: ConnectionSpec) -> Iterator[str]:
    """Yield what no report may contain: another connection, an empty fill, our own decisions."""
    for report in reports:
        if report.connection_id != spec.connection_id:
            yield f"a report names connection {report.connection_id!r}"
        if report.kind in (ReportKind.NOT_SENT, ReportKind.UNKNOWN):
            yield f"a report has the kind {report.kind}, which only Fillcast decides"
        if report.kind is ReportKind.FILLED and not report.fills:
            yield "a FILLED report has no executions"
        if report.kind is ReportKind.LEVELS and report.levels is None:
            yield "a LEVELS report has no levels"
        for number, fill in enumerate(report.fills):
            whole = replace(fill, is_commission_only=False)
            if fill.is_commission_only and whole not in report.fills[:number]:
                yield "a commission alone, without its execution before it in the report"
            if not fill.broker_fill_id:
                yield "an execution has no id"
            if fill.quantity <= 0 or fill.price <= 0:
                yield f"an execution of {fill.quantity} at {fill.price}"


def exposed_secret(text: str, spec: ConnectionSpec) -> str:
    """Return the name of a credential whose value is in a text, or ''.

    Values of up to three characters are skipped: a text may contain them by chance.
    """
    return next(
        (name for name, value in spec.credentials.items() if len(value) > 3 and value in text), ""
    )
