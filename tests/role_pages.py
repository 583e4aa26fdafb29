"""docs/role-matrix.md: what each role may do at each address, from the tables that tests check.

    python -m tests.role_pages            write the page
    python -m tests.role_pages --check    write nothing; fail if it would change

The tables are written by hand (role_matrix.py in tests/api, tests/console and tests/portal). Tests
ask at every address what each role may do. They fail if an address of the URL conf or a list of the
console has no line.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.api import role_matrix as api
from tests.console import role_matrix as console
from tests.portal import role_matrix as portal

PAGE = Path(__file__).parents[1] / "docs" / "role-matrix.md"
ROLES = {
    "A": "administrator", "O": "operator", "R": "risk officer", "S": "support", "N": "no role",
}  # fmt: skip
PREFIX = "/api/v1/"


def who(roles: str) -> str:
    """Return the roles whose letters are in `roles`, in words."""
    names = {api.OWN: "*own*", "token": "*by token*", "": "–"}
    return names.get(roles) or ", ".join(name for key, name in ROLES.items() if key in roles)


def api_lines() -> list[str]:
    """Return a row for each part of the API and each set of roles that may use it."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for named, roles in api.MATRIX.items():
        method, address = named.split()
        path = address.removeprefix(PREFIX)
        by_path = found.setdefault((path.lstrip("/").partition("/")[0], roles), {})
        by_path.setdefault(path, []).append(method)
    return [
        f"| {who(roles)} | {', '.join(operation(*one) for one in paths.items())} |"
        for (_part, roles), paths in sorted(found.items())
    ]


def operation(path: str, methods: Iterable[str]) -> str:
    """Return an address with its methods."""
    return f"`{path}` {' '.join(methods)}"


def list_line(name: str, rows: console.Rows) -> str:
    """Return the row of a list: who may do what, by letters."""
    cells = [rows.read, rows.add, rows.change, rows.delete]
    actions = f"{rows.act}: {', '.join(rows.actions)}" if rows.actions and rows.act else "–"
    return f"| {name} | {' | '.join(cell or '–' for cell in cells)} | {actions} |"


def by_roles(pages: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of pages by who may open them, in the order of the table."""
    found: dict[str, list[str]] = {}
    for name, roles in pages.items():
        found.setdefault(roles, []).append(name)
    return found


def names(pages: Iterable[str]) -> str:
    """Return a cell with names of pages."""
    return ", ".join(f"`{name}`" for name in pages)


def portal_line(access: str, pages: Iterable[str]) -> str:
    """Return the row of pages of the portal with one kind of access."""
    return f"| {' | '.join(portal.CELLS[access])} | {names(pages)} |"


def role_page() -> str:
    lines = [
        "# Roles and actions",
        "",
        "Who may do what at each address. `make docs` writes this page from the tables by which",
        "the tests judge all of API, console and portal (`tests/api/test_roles.py`,",
        "`tests/console/test_roles.py`, `tests/portal/test_roles.py`). They fail if an address has",
        "no line. A superuser may do everything. [Roles](roles.md) describes the permissions, and",
        "what owners (tenants, providers) may do with their own rows.",
        "",
        "*own*: only the caller's own rows, whatever the role. *by token*: the token in the",
        f"address decides. {', '.join(f'{key}: {name}' for key, name in ROLES.items())}.",
        "",
        "## API",
        "",
        f"Below `{PREFIX}`, but for an address that begins with /:",
        "",
        "| may | operations |",
        "|---|---|",
        *api_lines(),
        "",
        "## Console: pages and actions",
        "",
        "| may | pages |",
        "|---|---|",
        *(
            f"| {who(roles)} | {names(pages)} |"
            for roles, pages in by_roles(
                {name: page.roles for name, page in console.PAGES.items()}
            ).items()
        ),
        "",
        "## Console: lists and forms",
        "",
        "| list | read | add | change | delete | actions on several rows |",
        "|---|---|---|---|---|---|",
        *(list_line(name, rows) for name, rows in console.LISTS.items()),
        "",
        "## Portal",
        "",
        "*own*: the user's own rows; others answer 404. *console*: redirects to the console, which",
        "has the rows of all users. *signing in*: only between the password and the second factor.",
        "–: redirects to the sign-in page.",
        "",
        "| signed out | tenant | with a role | no role | pages |",
        "|---|---|---|---|---|",
        *(portal_line(access, pages) for access, pages in by_roles(portal.PAGES).items()),
    ]
    return "\n".join(lines) + "\n"


def main(*, check: bool) -> int:
    """Write the page; with `check`, only report whether it would change."""
    text = role_page()
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    if check:
        sys.stderr.write("docs/role-matrix.md does not match the tables; run `make docs`\n")
        return 1
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
