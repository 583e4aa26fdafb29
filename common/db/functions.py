"""Database expressions for the models of all apps."""

from django.db.models import DateTimeField, Func


class ClockTimestamp(Func):
    """PostgreSQL's clock_timestamp(): the current machine time, not the transaction's start.

    Leases and the times of steps use it.
    """

    function = "clock_timestamp"
    template = "%(function)s()"
    output_field = DateTimeField()
