"""Every page of the portal × their owner: what others get is in test_roles_of_*.py."""

import pytest
from django.test import Client

from portal.security_urls import urlpatterns as security_urls
from portal.urls import urlpatterns as portal_urls
from portal.visitor_urls import urlpatterns as visitor_urls
from tests.matrix import WALK_TIME
from tests.portal.factories import World
from tests.portal.role_matrix import PAGES
from tests.portal.role_walks import Addresses, Respond, alices, client, respond, user, walk_pages

__all__ = ["alices", "client", "respond", "user"]
pytestmark = pytest.mark.usefixtures("private_feeds")


def test_every_page_is_in_the_matrix() -> None:
    existing = {f"portal:{pattern.name}" for pattern in portal_urls}
    existing |= {f"security:{pattern.name}" for pattern in security_urls}
    existing |= {f"visitor:{pattern.name}" for pattern in visitor_urls}
    assert set(PAGES) == existing


@WALK_TIME
@pytest.mark.parametrize("caller", ["alice"])
def test_each_caller_gets_the_outcome_of_the_matrix(
    world: World, alices: Addresses, client: Client, respond: Respond, as_web: None, caller: str
) -> None:
    walk_pages(caller, world, alices, client, respond)


@pytest.mark.parametrize("caller", ["visitor", "alice", "olga"])
def test_all_callers_may_sign_in_and_out(world: World, caller: str) -> None:
    client = Client()
    if caller != "visitor":
        client.force_login(getattr(world, caller))
    home = {"visitor": "", "alice": "/", "olga": "/admin/"}[caller]
    response = client.get("/login/")
    assert (response.status_code, response.headers.get("Location", "")) == (
        302 if home else 200,
        home,
    )
    assert client.post("/logout/")["Location"] == "/login/"
