"""Every page, list and form of the console as each caller, with the outcomes of its matrix."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.urls import reverse

from common.permissions import Role
from tests.console.conftest import build_small
from tests.console.role_matrix import LISTS, PAGES, READERS
from tests.console.role_rows import address, rows_of_pages
from tests.roles import staff
from tests.stack.asking import (
    ADMINISTRATOR,
    CALLERS,
    CONSOLE,
    FORM,
    NO_ROLE,
    OPERATOR,
    OTHER,
    OWNER,
    PASSWORD,
    SIGN_IN,
    VISITOR,
    Cell,
)
from tests.users.world import tenant
from users.models import User

NAMES = {
    OWNER: "tenant-01", OTHER: "tenant-02",
    ADMINISTRATOR: "anna", OPERATOR: "oscar", NO_ROLE: "nils",
}  # fmt: skip
LETTERS = {ADMINISTRATOR: "A", OPERATOR: "O", NO_ROLE: "N"}
MAY = {"200", "302", "400", "404", "405", "422", CONSOLE}  # the last one without a row
NO_ROW = {"executionconnection": "00000000-0000-4000-8000-000000000000"}
FORMS = ("changelist", "add", "history", "change", "delete")
OF_A_ROW = ("history", "change", "delete")


def build() -> dict[str, Any]:
    """Write the rows that the pages are about, and staff; give each caller a password."""
    tenant("rich")  # a row in every table of tenants
    rows = rows_of_pages(build_small())
    staff(Role.ADMINISTRATOR, name="anna")
    staff(Role.OPERATOR, name="oscar")
    staff(name="nils")
    hashed = User()
    hashed.set_password(PASSWORD)
    User.objects.filter(username__in=NAMES.values()).update(password=hashed.password)
    return rows


def expected(roles: str, caller: str) -> frozenset[str]:
    """Return the outcomes that the matrix allows."""
    letter = LETTERS.get(caller)
    if letter is None:
        return frozenset([SIGN_IN])
    if letter in roles:
        return frozenset(MAY)
    return frozenset(["403", "404"] if letter == "N" and roles == READERS else ["403"])


def cells(rows: dict[str, Any]) -> Iterator[Cell]:
    """Yield the requests of each page and of each list with its forms; the last ones sign out."""
    for name, page in PAGES.items():
        if name not in ("login", "logout"):  # the first is in open_cells.py
            yield from _of(name, address(name, page, rows), page.roles, page.roles)
    for number, model in enumerate(admin.site._registry):
        label = model._meta.label_lower
        assert label in LISTS, f"{label} has no line in tests/console/role_matrix.py"
        yield from _of_list(model, label, _some(number))
    for caller in CALLERS:
        yield Cell("logout", caller, "POST", reverse("admin:logout"), frozenset(), None, FORM)


def _some(number: int) -> tuple[str, ...]:
    """Return callers for the forms of a list: of two whom the same line lets in, each in turn."""
    return VISITOR, (OTHER, OWNER)[number % 2], NO_ROLE, (OPERATOR, ADMINISTRATOR)[number % 2]


def _of_list(model: Any, label: str, some: tuple[str, ...]) -> Iterator[Cell]:
    rights, name = LISTS[label], f"admin:{label.replace('.', '_')}"
    row = model._base_manager.order_by("pk").first()
    pk = row.pk if row is not None else NO_ROW.get(label.split(".")[1], "10000000")
    for form in FORMS:
        path = reverse(f"{name}_{form}", args=[pk] if form in OF_A_ROW else [])
        writes = getattr(rights, form, rights.read)
        reads = writes if form in ("add", "delete") else rights.read
        yield from _of(
            f"{label} {form}", path, reads, writes, some if form != "changelist" else CALLERS
        )
    for caller in (VISITOR, ADMINISTRATOR):
        yield Cell(f"{label} by its id", caller, "GET", reverse(f"{name}_changelist") + f"{pk}/")


def _of(
    name: str, path: str, reads: str, writes: str, callers: tuple[str, ...] = CALLERS
) -> Iterator[Cell]:
    for caller in callers:
        yield Cell(name, caller, "GET", path, expected(reads, caller))
        written = expected(writes, caller)
        is_form = name.endswith((" change", " delete"))
        if is_form and not writes and LETTERS.get(caller, "N") in READERS:
            written = frozenset(["405"])  # no one may
        elif name.endswith(" change"):
            written |= {"403"}  # a row such as a published signal is changed no more
        yield Cell(name, caller, "POST", path, written, None, FORM)
