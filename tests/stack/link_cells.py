"""What links from mails lead to, with links that work: these pages have no transaction around."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.stack.asking import FORM, OWNER, PASSWORD, SIGN_IN, VISITOR, Cell
from users.mails.links import confirm_link, reset_link
from users.models import User
from users.people.invitations import invite

NEW = "Sturdy-Heron-8842"
TWICE = {"new_password1": NEW, "new_password2": NEW}
LOGIN = {"username": "zoe", "password1": NEW, "password2": NEW, "time_zone": "UTC"}


def cells() -> Iterator[Cell]:
    """Yield the requests of a person who follows each link, and of an owner who deletes a login."""
    address = "linda@example.com"
    linda = User.objects.create_user("linda", email=address, password=PASSWORD)
    links = {
        "invitation that works": (invite("for Zoe", by=None)[1], LOGIN),
        "link to a new password": (reset_link(linda), TWICE),
        "link that confirms an address": (confirm_link(linda.pk, address), {"confirmed": "yes"}),
    }
    for name, (link, typed) in links.items():
        path = urlsplit(link).path
        yield Cell(name, VISITOR, "GET", path, frozenset(["200"]))
        yield Cell(name, VISITOR, "POST", path, frozenset(["200", "302", SIGN_IN]), typed, FORM)
    own = {"password": PASSWORD}
    may = frozenset(["200", "422"])
    yield Cell("login deleted by its owner", OWNER, "POST", "/security/delete/", may, own, FORM)
