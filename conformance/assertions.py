"""What a list of reports means, and what no error may contain. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code
from conformance.registry import expect
from conformance.value_checks import exposed_secret


def check_error(error: BrokerError, spec: ConnectionSpec) -> None:
    """Raise CheckFailed for an error without a reason code, or with a secret in its text."""
    expect(isinstance(error.code, Code), f"{error.code!r} is not a reason code")
    name = exposed_secret(f"{error} {error.detail}", spec)
    expect(not name, f"the error's text contains the credential {name}")


def filled(reports: Sequence[OrderReport]) -> Decimal:
    """Return the quantity of all executions in reports; a repeated execution counts once."""
    own = [
        report for report in reports if report.close_cause is None
    ]  # without exits by the broker
    latest = {fill.broker_fill_id: fill for report in own for fill in report.fills}
    real = sum((fill.quantity for fill in latest.values() if not fill.inferred), Decimal(0))
    sums = [fill.quantity for fill in latest.values() if fill.inferred]
    return max([real, *sums])


def is_filled(reports: Sequence[OrderReport]) -> bool:
    """Return whether any quantity was executed."""
    return filled(reports) > 0


def ended(reports: Sequence[OrderReport]) -> bool:
    """Return whether a report states that the order ended without its whole quantity."""
    over = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
    return any(report.kind in over for report in reports)


def describe_kinds(reports: Sequence[OrderReport]) -> str:
    """Describe reports by their kinds and codes, for a message."""
    return (
        ", ".join(f"{report.kind}{f' {report.code}' if report.code else ''}" for report in reports)
        or "no report"
    )
