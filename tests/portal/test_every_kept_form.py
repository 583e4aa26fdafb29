"""Every form of the portal: what was typed when its session had ended is there after signing in."""

import html
import re

import pytest
from django.test import Client
from django.urls import reverse

from portal import kept_forms
from tests.html import html_of
from tests.matrix import WALK_TIME, Walk
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_access import PRIVATE, args
from tests.portal.test_kept_forms import session_ends, sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("private_feeds")]
TYPED = "1.2345678"
FORM = re.compile(r'<form[^>]*method="post".*?</form>', re.DOTALL)
TAG = re.compile(r"<(?:input|textarea)\b[^>]*>")
NOT_TYPED = {"hidden", "checkbox", "radio", "submit", "password", "search"}
OWN = {"security:profile": "/profile/", "security:key_create": "/keys/create/"}
HAVE_TEXTS = {  # so that the test below does not pass because it finds no fields
    "portal:account_cash_flow", "portal:account_edit", "portal:account_loss_limit",
    "portal:account_paper", "portal:order_change", "portal:preset_new", *OWN,
}  # fmt: skip
ADDRESSES = [*(f"portal:{name}" for name in PRIVATE), *OWN]


def typed_fields(content: str) -> dict[str, str]:
    """Return a text for each field of a page's forms that a person types."""
    main = content.partition("<main")[2]
    found = {}
    for form in FORM.findall(main):
        for tag in TAG.findall(form):
            kind = re.search(r'type="(\w+)"', tag)
            name = re.search(r'name="([^"]+)"', tag)
            if name and not (kind and kind[1] in NOT_TYPED) and "readonly" not in tag:
                found[name[1]] = TYPED
    return found


def values_on(content: str) -> dict[str, str]:
    """Return what each input and text area of a page holds."""
    inputs = {
        name[1]: value[1]
        for tag in re.findall(r"<input\b[^>]*>", content)
        if (name := re.search(r'name="([^"]+)"', tag))
        and (value := re.search(r'value="([^"]*)"', tag))
        and 'type="hidden"' not in tag
    }
    areas = re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>(.*?)</textarea>', content, re.DOTALL)
    return inputs | {name: html.unescape(text).strip() for name, text in areas}


@WALK_TIME
def test_what_was_typed_is_there_after_signing_in(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client: Client = signed_in(world.alice)
    with Walk(client) as walk:
        for name in walk.each(ADDRESSES):
            own = OWN.get(name)
            address = own or reverse(name, kwargs=args(world, name.partition(":")[2], "alice"))
            with walk.cell(name, "alice") as cell:
                page = client.get(address)
                fields = typed_fields(html_of(page)) if page.status_code == 200 else {}
                kept = [key for key in fields if not kept_forms._is_secret(key)]
                cell.expect(True, bool(kept) or name not in HAVE_TEXTS, "has fields")
                if kept and name not in kept_forms.NEVER_KEPT:
                    cell.expect([], lost_fields(client, address, kept), "lost fields")


def lost_fields(client: Client, address: str, fields: list[str]) -> list[str]:
    """Send a form after its session has ended, sign in, and return what the page has lost."""
    session_ends(client)
    answer = client.post(address, dict.fromkeys(fields, TYPED))
    assert answer["Location"].startswith("/login/?next="), answer["Location"]
    shown = values_on(sign_in(client, answer["Location"]))
    return [key for key in fields if shown.get(key) != TYPED]
