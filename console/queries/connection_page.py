"""A connection with all that its page reads of its own row and counts of the rows around it."""

from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Now
from django.shortcuts import get_object_or_404

from connections.models import DataConnection, ExecutionConnection, LaneLease, SubscriptionRoute
from connections.selectors import with_display_columns, with_skip_reason, with_source_status
from execution.models import DriftItem


def tested_connection(pk: UUID) -> Any:
    """Return a connection with what the panel of its last test shows. Raises Http404."""
    return get_object_or_404(_with_health(), pk=pk)


def shown_connection(pk: UUID) -> Any:
    """Return a connection with what its page shows of it, by one statement. Raises Http404.

    `routes`: the accounts that execute for its subscriptions. `open_differences`: how many wait for
    a decision; None: none. `is_shared`: whether all accounts may use its broker's prices.
    `lane_owner`: the process that holds its lane, if any.
    """
    row = OuterRef("pk")
    routes = SubscriptionRoute.objects.filter(subscription__connection=row).order_by("rank")
    differences = DriftItem.objects.filter(connection=row, state=DriftItem.State.OPEN).order_by()
    leases = LaneLease.objects.filter(lane=OuterRef("lane"), until__gte=Now())
    known = with_source_status(with_skip_reason(_with_health())).select_related(
        "user", "admin", "preset", "snapshot", "cash_flow_read"
    )
    return get_object_or_404(
        known.annotate(
            routes=ArraySubquery(routes.values("connection_id")),
            open_differences=Subquery(
                differences.values("connection").annotate(n=Count("pk")).values("n")
            ),
            is_shared=Exists(DataConnection.objects.filter(broker_connection=row, user=None)),
            lane_owner=Subquery(leases.values("owner")),
        ),
        pk=pk,
    )


def _with_health() -> QuerySet[ExecutionConnection]:
    return with_display_columns(ExecutionConnection.objects.select_related("health"))
