"""Every page and list of the console is in the matrix, and who may use actions (role_matrix.py)."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config import urls  # noqa: F401  # registers the admin's pages
from connections.models import TradingPreset
from tests.console.role_matrix import LISTS, PAGES
from tests.console.role_walks import LETTERS, OF_LISTS, label, named, rows, team
from tests.matrix import WALK_TIME, Walk
from tests.roles import staff

__all__ = ["rows", "team"]


def names_of(resolver: Any) -> Iterator[str]:
    """Yield the names of all addresses below; addresses that only redirect have none."""
    for pattern in resolver.url_patterns:
        if not isinstance(pattern, URLPattern):
            yield from names_of(pattern)
        elif pattern.name:
            yield pattern.name


def console_names() -> set[str]:
    (console,) = (
        pattern
        for pattern in get_resolver().url_patterns
        if getattr(pattern, "app_name", "") == "admin"
    )
    return set(names_of(console))


def test_every_address_and_list_is_in_the_matrix() -> None:
    lists = {f"{name.replace('.', '_')}_{kind}" for name in LISTS for kind in OF_LISTS}
    assert console_names() == set(PAGES) | lists
    assert {label(model) for model in admin.site._registry} == set(LISTS)


@WALK_TIME
def test_actions_on_several_rows_are_offered_by_role(rows: dict[str, Any]) -> None:
    """Django executes only the actions that a list offers."""
    users = {letter: staff(*roles) for letter, roles in LETTERS.items()}
    with Walk() as walk:
        for model, model_admin in walk.each(admin.site._registry.items()):
            kinds = LISTS[label(model)]
            for letter, user in users.items():
                request: Any = RequestFactory().get("/")
                request.user = user
                with walk.cell(f"actions of {label(model)}", named(letter)) as cell:
                    expected = set(kinds.actions) if letter in kinds.act else set()
                    cell.expect(expected, set(model_admin.get_actions(request)))


def test_actions_on_several_rows_are_executed_by_role(team: dict[str, Client]) -> None:
    every = IntervalSchedule.objects.create(every=5, period="seconds")
    task = PeriodicTask.objects.create(name="sweep", task="sweep", interval=every)
    preset = TradingPreset.objects.create(name="p", risk_percent=1)

    def act(letter: str, path: str, action: str, row: Any) -> None:
        data = {"action": action, "_selected_action": [row.pk], "post": "yes"}
        assert team[letter].post(path, data).status_code in (200, 302, 403)

    for letter in "RSNOA":
        act(letter, "/admin/django_celery_beat/periodictask/", "disable_tasks", task)
        task.refresh_from_db()
        assert task.enabled is (letter != "A"), letter
    for letter in "OSNR":
        act(letter, "/admin/connections/tradingpreset/", "delete_selected", preset)
        assert TradingPreset.objects.filter(pk=preset.pk).exists() is (letter != "R"), letter
