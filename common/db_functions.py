"""Database expressions that every room's models share."""

from django.db.models import DateTimeField, Func


class ClockTimestamp(Func):
    """PostgreSQL's clock_timestamp(): the machine time of this very moment, not of the
    transaction's start. Step times and leases are measured by it."""

    function = "clock_timestamp"
    template = "%(function)s()"
    output_field = DateTimeField()
