"""docs/role-matrix.md: what each role may do at each address, from the tables that tests check.

    python -m tests.role_pages            write the page
    python -m tests.role_pages --check    write nothing; fail if it would change

The tables are written by hand (role_matrix.py in tests/api, tests/console and tests/portal). Tests
ask at every address what each role may do. They fail if an address of the URL conf or a list of the
console has no line.
"""

import sys
from pathlib import Path

from tests.api import role_matrix as api
from tests.console import role_matrix as console
from tests.portal import role_matrix as portal

PAGE = Path(__file__).parents[1] / "docs" / "role-matrix.md"
ROLES = {
    "A": "administrator", "O": "operator", "R": "risk officer", "S": "support", "N": "no role",
}  # fmt: skip
HEAD = f"{' | '.join(ROLES.values())} |"
RULE = "---|" * (len(ROLES) + 1)


def cells(roles: str) -> str:
    """Return a row's columns: yes for each role whose letter is in `roles`."""
    return " | ".join("yes" if letter in roles else "–" for letter in ROLES)


def api_line(operation: str, roles: str) -> str:
    """Return the row of an operation."""
    if roles == api.OWN:
        return f"| `{operation}` | " + " | ".join(["own"] * len(ROLES)) + " |"
    if roles == "token":
        return f"| `{operation}` | " + " | ".join(["by token"] * len(ROLES)) + " |"
    return f"| `{operation}` | {cells(roles)} |"


def list_lines(name: str, rows: console.Rows) -> list[str]:
    """Return the rows of a list: only actions that a role may do."""
    acts = {"read": rows.read, "add": rows.add, "change": rows.change, "delete": rows.delete}
    lines = [f"| {name}: {act} | {cells(roles)} |" for act, roles in acts.items() if roles]
    return lines + [f"| {name}: {act} | {cells(rows.act)} |" for act in rows.actions]


def portal_line(name: str, access: str) -> str:
    """Return the row of a page of the portal, where all roles are equal."""
    signed_out, tenant, role, no_role = portal.CELLS[access]
    columns = [signed_out, tenant, *[role] * (len(ROLES) - 1), no_role]
    return f"| `{name}` | " + " | ".join(columns) + " |"


def role_page() -> str:
    """Return the whole page."""
    lines = [
        "# Roles and actions",
        "",
        "`make docs` writes this page from the tables with which the tests judge what each role",
        "may do at every address of API, console and portal (`tests/api/test_roles.py`,",
        "`tests/console/test_roles.py`, `tests/portal/test_roles.py`). They fail if an address has",
        "no line. A superuser may do everything. [Roles](roles.md) describes the permissions, and",
        "what owners (tenants, providers) may do with their own rows.",
        "",
        "*own*: only the caller's own rows, whatever the role. *by token*: the token in the",
        "address decides.",
        "",
        "## API",
        "",
        f"| operation | {HEAD}",
        f"|{RULE}",
        *(api_line(operation, roles) for operation, roles in api.MATRIX.items()),
        "",
        "## Console: pages and actions",
        "",
        f"| page | {HEAD}",
        f"|{RULE}",
        *(f"| `{name}` | {cells(page.roles)} |" for name, page in console.PAGES.items()),
        "",
        "## Console: lists and forms",
        "",
        f"| list: action | {HEAD}",
        f"|{RULE}",
        *(line for name, rows in console.LISTS.items() for line in list_lines(name, rows)),
        "",
        "## Portal",
        "",
        "*own*: the user's own rows; others answer 404. *console*: redirects to the console, which",
        "has the rows of all users. *signing in*: only between the password and the second factor.",
        "–: redirects to the sign-in page.",
        "",
        f"| page | signed out | tenant | {HEAD}",
        f"|{RULE}---|---|",
        *(portal_line(name, access) for name, access in portal.PAGES.items()),
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
