"""A user's own audit trail: changes that they made, and changes of their settings by others.

Only operators read the trail's table, so these functions open it and return what is the user's.
Names and addresses of others stay theirs: a change by staff is one by "staff".
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from django.apps import apps
from django.db.models import CharField, Q, QuerySet, Value
from django.db.models.functions import Cast

from common.models import TrailLine
from connections.models import ExecutionConnection, Subscription
from events.models import Channel
from signals.models import Feed
from users.models import ApiKey, SecondFactor, User
from users.tenancy import for_all_tenants, on_behalf_of

CHUNK = 500
COLUMNS = ("line", "at", "by", "address", "entry_point", "api_key", "change", "what", "number",
           "fields")  # fmt: skip
LONGEST = 80
WHAT: dict[str, tuple[str, Callable[[User], QuerySet[Any]]]] = {
    model._meta.db_table: (label, rows_of)
    for model, label, rows_of in (
        (User, "your login", lambda user: User.objects.filter(pk=user.pk)),
        (ApiKey, "API key", lambda user: ApiKey.objects.filter(user=user)),
        (SecondFactor, "second factor", lambda user: SecondFactor.objects.filter(user=user)),
        (Channel, "channel", lambda user: Channel.objects.filter(user=user)),
        (Feed, "feed", lambda user: Feed.objects.filter(owner=user)),
        (
            ExecutionConnection,
            "account",
            lambda user: ExecutionConnection.objects.filter(user=user),
        ),
        (
            Subscription,
            "subscription",
            lambda user: Subscription.objects.filter(connection__user=user),
        ),
    )
}
"""The user's own rows by table; also of changes that others made."""


def changes(user: User, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest changes by column, before the key `before`, each with its `key`."""
    of_rows = Q(pk=None)
    for relation, ids in _own_rows(user).items():
        of_rows |= Q(relation=relation, row_id__in=ids)
    earlier = Q(pk__lt=before) if before is not None else Q()
    with for_all_tenants():
        keys: set[int] = set()
        for which in (Q(user_id=user.pk), of_rows):  # each by an index of its own
            found = TrailLine.objects.filter(which, earlier).order_by("-pk")
            keys.update(found.values_list("pk", flat=True)[:limit])
        lines = list(TrailLine.objects.filter(pk__in=sorted(keys, reverse=True)[:limit]))
        staff = _staff({line.user_id for line in lines if line.user_id})
    names = dict(ApiKey.objects.filter(user=user).values_list("pk", "name"))
    lines.sort(key=lambda line: -line.pk)
    return [_row(line, user, staff, names) for line in lines]


def _own_rows(user: User) -> dict[str, list[str]]:
    """Return the ids of the user's own rows by table, in one statement."""
    first, *others = (
        rows_of(user)
        .annotate(relation=Value(relation), row=Cast("pk", CharField()))
        .order_by()
        .values_list("relation", "row")
        for relation, (_, rows_of) in WHAT.items()
    )
    found: dict[str, list[str]] = {}
    for relation, row in first.union(*others, all=True):
        found.setdefault(relation, []).append(row)
    return found


def all_changes(user: User) -> Iterator[dict[str, Any]]:
    """Return all changes. It is read after the request's transaction, and opens its own."""
    before: int | None = None
    while True:
        with on_behalf_of(user):
            chunk = changes(user, before=before, limit=CHUNK)
        yield from chunk
        if len(chunk) < CHUNK:
            return
        before = chunk[-1]["key"]


def _staff(ids: set[int]) -> set[int]:
    return set(User.objects.filter(pk__in=ids, is_staff=True).values_list("pk", flat=True))


def _row(line: TrailLine, user: User, staff: set[int], keys: dict[int, str]) -> dict[str, Any]:
    is_mine = line.user_id == user.pk
    by = "you" if is_mine else "a process" if line.user_id is None else "another user"
    key = line.context.get("key")
    return {
        "key": line.pk,
        "line": line.number,
        "at": line.at,
        "by": "staff" if not is_mine and line.user_id in staff else by,
        "address": line.address if is_mine else "",
        "entry_point": line.origin,
        "api_key": keys.get(key, f"key {key}") if is_mine and key else "",
        "change": line.get_operation_display().lower(),
        "what": _name_of(line.relation),
        "number": line.row_id,
        "fields": "; ".join(_fields(line)),
    }


def _name_of(relation: str) -> str:
    if relation in WHAT:
        return WHAT[relation][0]
    without_model = relation.partition("_")[2].replace("_", " ")
    return _model_names().get(relation, without_model)


@cache
def _model_names() -> dict[str, str]:
    models = apps.get_models(include_auto_created=True)
    return {model._meta.db_table: str(model._meta.verbose_name) for model in models}


def _fields(line: TrailLine) -> Iterator[str]:
    """Return `name: before → after` of each changed column of an update."""
    if line.operation != TrailLine.Operation.UPDATE:
        return
    before = line.before or {}
    for name, value in (line.after or {}).items():
        if value == "(secret)":
            yield f"{name}: replaced"
        elif before.get(name) != value:
            yield f"{name}: {_short(before.get(name))} → {_short(value)}"


def _short(value: Any) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
