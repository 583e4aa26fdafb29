"""All addresses of the product, found in the URL resolver, with the objects of a victim in them."""

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection, models, transaction
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RoutePattern
from django.utils.regex_helper import normalize

MARK = "quetzal"
FIRST_ID = 7_700_001
MANAGED = ("django_migrations", "auth_permission", "django_content_type")
METHODS = ("get", "post", "put", "patch", "delete")
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Victim:
    """A tenant whose texts all have MARK, and whose first row of each table has the id FIRST_ID."""

    uuid: str
    slug: str
    rows: dict[str, list[Any]]
    """The ids of all their rows, by table."""

    def values(self, name: str) -> tuple[str, ...]:
        """Return what may stand for an object in an address, for a parameter of this name."""
        if name in ("slug", "feed"):
            return (self.slug,)
        if name == "object_id":  # Django's admin
            return (str(FIRST_ID), self.uuid)
        return (str(FIRST_ID), self.uuid, self.slug)

    def found_in(self, text: str, sent: Iterable[str]) -> str:
        """Return what of the victim is in a text, besides what the caller has sent; "" if nothing.

        The caller sends the beginning of MARK only, so MARK as a whole is never an echo.
        """
        for value in sorted(sent, key=len, reverse=True):
            if value not in MARK:
                text = text.replace(value, "")
        near = rf"(?<![0-9]){FIRST_ID // 100}[0-9][0-9](?![0-9])"
        found = re.search(rf"{MARK}|{self.uuid}|{near}", text, re.IGNORECASE)
        return text[max(0, found.start() - 80) : found.end() + 80] if found else ""


@dataclass(frozen=True)
class Endpoint:
    """An address. values: those of the victim in it; template: the API's way to write it."""

    path: str
    template: str
    values: tuple[str, ...]
    methods: tuple[str, ...]


def start_ids_at(first: int) -> None:
    """Let the next row of every table have this id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname || '.' || sequencename FROM pg_sequences WHERE schemaname = 'public'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute("SELECT setval(%s, %s, false)", (name, first))


def ids_of_all_rows() -> dict[type[models.Model], set[Any]]:
    """Return the ids of the rows of each table."""
    return {
        model: set(model._base_manager.values_list("pk", flat=True))
        for model in apps.get_models()
        if model._meta.managed and model._meta.db_table not in MANAGED
    }


def mark(before: dict[type[models.Model], set[Any]]) -> dict[str, list[Any]]:
    """Put MARK into every free text of the rows that are new; return their ids by table."""
    found = {}
    for model, ids in ids_of_all_rows().items():
        new = sorted(ids - before.get(model, set()), key=str)
        if new:
            found[model._meta.db_table] = [str(pk) for pk in new]
        for pk, column in itertools.product(new, free_texts(model)):
            text = f"{MARK} {column.name}" if (column.max_length or 99) >= 40 else f"{MARK}{pk}"
            text = text[: column.max_length or 99]
            if column.name in ("slug", "username"):
                text = f"{MARK}-{pk}"
            try:
                with transaction.atomic():
                    model._base_manager.filter(pk=pk).update(**{column.name: text})
            except DatabaseError:  # a rule of the column, or rows that never change
                continue
    return found


def free_texts(model: type[models.Model]) -> Iterator[Any]:
    """Yield the columns that hold what people write."""
    for column in model._meta.concrete_fields:
        is_text = isinstance(column, models.CharField | models.TextField)
        is_free = not column.choices and not column.primary_key and column.name not in CODES
        if is_text and is_free and (column.max_length or 99) >= len(MARK) + 3:
            yield column


CODES = {  # texts that our own code reads
    "pair", "symbol", "currency_pair", "side", "leg", "order_type", "time_in_force", "kind", "code",
    "reason", "type", "currency", "pass_word", "password", "time_zone", "status",
    "state", "unit", "action", "session_zone", "trading_day_zone", "account_type", "lane",
}  # fmt: skip


def patterns(found: Iterable[Any] = (), prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the parts of the pattern of each address, from the root on."""
    for one in found or get_resolver().url_patterns:
        parts = (*prefix, one.pattern)
        if isinstance(one, URLResolver):
            yield from patterns(one.url_patterns, parts)
        elif isinstance(one, URLPattern):
            yield (*parts, one.callback)


def template_of(parts: tuple[Any, ...]) -> tuple[str, list[str]] | None:
    """Return the address with %(name)s for each of its parameters, and their names."""
    text, names = "", []
    for pattern in parts:
        if isinstance(pattern, RoutePattern):
            route = str(pattern)
            names += PARAMETER.findall(route)
            text += PARAMETER.sub(r"%(\1)s", route.replace("%", "%%"))
        else:
            choices = normalize(pattern.regex.pattern)
            if not choices:
                return None
            part, found = choices[0]
            text, names = text + part, names + list(found)
    return "/" + text, names


def endpoints(victim: Victim, words: dict[str, tuple[str, ...]]) -> list[Endpoint]:
    """Return every address with all values of the victim that it accepts.

    words: values of parameters that name no object, such as a table.
    """
    found: dict[str, Endpoint] = {}
    for *parts, callback in patterns():
        made = template_of(tuple(parts))
        if made is None or any(name.startswith("_") for name in made[1]):
            continue
        template, names = made
        choices = [words.get(name) or victim.values(name) for name in names]
        for values in itertools.product(*choices):
            path = template % dict(zip(names, values, strict=True))
            if path not in found and leads_to(path, callback):
                named = [v for name, v in zip(names, values, strict=True) if name not in words]
                text = template % dict.fromkeys(names, "{}")
                found[path] = Endpoint(path, text, tuple(named), methods_of(callback))
    return list(found.values())


def methods_of(callback: Any) -> tuple[str, ...]:
    """Return the methods that a view answers; of a function, GET and POST."""
    if actions := getattr(callback, "actions", None):
        return tuple(method for method in METHODS if method in actions)
    view = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
    if view is None:
        return ("get", "post")
    return tuple(method for method in METHODS if hasattr(view, method))


def leads_to(path: str, callback: Any) -> bool:
    """Whether an address belongs to a view and not to one before it."""
    try:
        return resolve(path).func is callback
    except Resolver404:
        return False


def state_of(rows: dict[str, list[Any]]) -> str:
    """Return a hash of rows as the owner of the tables sees them."""
    keys = {model._meta.db_table: model._meta.pk.column for model in apps.get_models()}
    parts = [
        f"SELECT '{table}' || t::text AS x FROM {table} t WHERE t.{keys[table]}::text = ANY(%s)"
        for table in sorted(rows)
    ]
    ids = [rows[table] for table in sorted(rows)]
    text = f"SELECT md5(string_agg(x, '|' ORDER BY x)) FROM ({' UNION ALL '.join(parts)}) s"
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('role')")
        [(role,)] = cursor.fetchall()
        cursor.execute("SET ROLE NONE")  # row security would hide the victim's rows
        cursor.execute(text, ids)
        [(digest,)] = cursor.fetchall()
        cursor.execute(f"SET ROLE {role}")
    return str(digest)
