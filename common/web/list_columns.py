"""Columns that a list leaves out: of twenty rows with all of their relations most are never shown,
and reading them takes longer than the page's own work."""

from django.db.models import Model


def other_columns(relation: str, model: type[Model], *kept: str) -> list[str]:
    """Return a joined model's columns but `kept`, for `defer`. To read one later costs a query."""
    names = [field.name for field in model._meta.concrete_fields]
    assert set(kept) <= set(names), kept
    return [f"{relation}__{name}" for name in names if name not in kept]
