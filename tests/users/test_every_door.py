"""Every address of portal and API × every caller × another tenant's objects, found by itself.

The addresses come from the URL resolver and the bodies from the OpenAPI schema, so that a new page or
operation is included without a line here. The victim's texts all have a mark, and their rows ids of
their own: neither may be in any answer, whatever its status.
"""

from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from nacl.public import PrivateKey

from signals.models import Feed
from tests.kept_rows import kept_rows
from tests.roles import staff
from tests.users.callers import WORDS, Caller, faults_at, make_victim
from tests.users.doors import FIRST_ID, Door, Victim, doors
from tests.users.world import tenant

victim = kept_rows(make_victim)


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set the public key only, as in the web process."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []


def all_doors(victim: Victim) -> list[Door]:
    return [door for door in doors(victim, WORDS) if not door.path.startswith("/admin/")]


def test_addresses_are_found_with_the_victims_objects(victim: Victim) -> None:
    """Otherwise the tests below would pass for want of addresses."""
    found = {door.path: door for door in all_doors(victim)}
    assert len(found) > 300
    for place in (
        f"/orders/{FIRST_ID}/change/",
        f"/accounts/{victim.uuid}/edit/",
        f"/feeds/{victim.slug}/subscribe/",
        f"/api/v1/orders/{FIRST_ID}/",
        f"/api/v1/connections/{victim.uuid}/credentials/",
        f"/api/v1/feeds/{victim.slug}/tokens/{FIRST_ID}/rotate/",
    ):
        assert found[place].values, place
    assert found["/api/v1/feeds/"].values == ()
    assert found["/api/v1/feeds/"].methods == ("get", "post")


def test_visitors_get_nothing_of_a_tenant(victim: Victim) -> None:
    assert faults_at(all_doors(victim), Caller(victim), victim) == []


@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # querysets alone must suffice, too
def test_another_tenant_gets_nothing_of_a_tenant(victim: Victim, role: str) -> None:
    caller = Caller(victim, tenant("cuckoo").user)
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    found = faults_at(all_doors(victim), caller, victim)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert found == []


def test_staff_without_a_role_get_nothing_of_a_tenant(victim: Victim) -> None:
    assert faults_at(all_doors(victim), Caller(victim, staff(name="no-role")), victim) == []


# --- that these tests can fail: views that are open on purpose


def open_view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"<h1>{Feed.objects.get(pk=pk).name}</h1>")


def search_view(request: HttpRequest) -> HttpResponse:
    found = Feed.objects.filter(name__icontains=request.GET.get("q", "-"))
    return HttpResponse(", ".join(feed.name for feed in found))


def silent_view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse("done")


def changing_view(request: HttpRequest) -> HttpResponse:
    Feed.objects.filter(slug=request.POST.get("feed", "")).update(description="changed")
    return HttpResponseRedirect("/")


def failing_view(request: HttpRequest, slug: str) -> HttpResponse:
    raise ValueError(slug)


def polite_view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"There is no feed {pk}.", status=404)


urlpatterns = [
    path("open/<int:pk>/", open_view),
    path("search/", search_view),
    path("silent/<int:pk>/", silent_view),
    path("changing/", changing_view),
    path("failing/<slug:slug>/", failing_view),
    path("polite/<int:pk>/", polite_view),
]


@pytest.mark.urls("tests.users.test_every_door")
def test_open_views_are_found(victim: Victim, settings: Any) -> None:
    settings.MIDDLEWARE = []
    lines = faults_at(doors(victim, WORDS), Caller(victim), victim)
    found = {line.split(": ")[0] for line in lines}
    object_of = {"open": FIRST_ID, "silent": FIRST_ID, "failing": victim.slug}
    assert found == {
        *(f"{method} /{name}/{key}/" for method in ("GET", "POST") for name, key in object_of.items()),
        "GET /search/",
        "POST /changing/",
    }
