"""What reports say together, and what no error may say. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from brokers.base import BrokerError
from brokers.types import ConnectionSpec, OrderReport, ReportKind
from common.reason_codes import Code
from conformance.registry import expect
from conformance.value_checks import exposed_secret


def check_error(error: BrokerError, spec: ConnectionSpec) -> None:
    """Raises Failed for an error without a code of the table, or with a secret in its words."""
    expect(isinstance(error.code, Code), f"{error.code!r} is no code of the table")
    name = exposed_secret(f"{error} {error.detail}", spec)
    expect(not name, f"the error's words contain the credential {name}")


def filled(reports: Sequence[OrderReport]) -> Decimal:
    """How much the executions in reports are together; the same one told twice counts once."""
    own = [report for report in reports if report.close_cause is None]  # not its broker-made exits
    latest = {fill.broker_fill_id: fill for report in own for fill in report.fills}
    real = sum((fill.quantity for fill in latest.values() if not fill.inferred), Decimal(0))
    sums = [fill.quantity for fill in latest.values() if fill.inferred]
    return max([real, *sums])


def is_filled(reports: Sequence[OrderReport]) -> bool:
    return filled(reports) > 0


def ended(reports: Sequence[OrderReport]) -> bool:
    """Whether an order is told to be over without (all of) its quantity."""
    over = (ReportKind.CANCELLED, ReportKind.EXPIRED, ReportKind.REJECTED)
    return any(report.kind in over for report in reports)


def describe_kinds(reports: Sequence[OrderReport]) -> str:
    """Put reports into a few words."""
    return (
        ", ".join(f"{report.kind}{f' {report.code}' if report.code else ''}" for report in reports)
        or "nothing"
    )
