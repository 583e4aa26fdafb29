"""Every address of portal and API × every caller × another tenant's objects, found automatically.

The addresses come from the URL resolver and the bodies from the OpenAPI schema, so that a new page
or operation is included without a line here. The victim's texts all have a mark, and their rows ids
of their own: neither may be in any answer, whatever its status. A list is also searched, by each
name that its view looks for in the query.
"""

from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.views.generic import ListView
from nacl.public import PrivateKey
from rest_framework import serializers, viewsets
from rest_framework.filters import SearchFilter
from rest_framework.request import Request
from rest_framework.response import Response

from signals.models import Feed
from tests.kept_rows import kept_rows
from tests.matrix import require_none
from tests.roles import staff
from tests.users.callers import PARTS, WORDS, Caller, faults_at, make_victim
from tests.users.endpoints import FIRST_ID, Endpoint, Victim, endpoints
from tests.users.world import tenant

victim = kept_rows(make_victim)


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set the public key only, as in the web process."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = []


def all_endpoints(victim: Victim) -> list[Endpoint]:
    return [
        endpoint for endpoint in endpoints(victim, WORDS) if not endpoint.path.startswith("/admin/")
    ]


def test_addresses_are_found_with_the_victims_objects(victim: Victim) -> None:
    """Otherwise the tests below would pass for want of addresses."""
    found = {endpoint.path: endpoint for endpoint in all_endpoints(victim)}
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
    require_none(faults_at(all_endpoints(victim), Caller(victim), victim))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("role", ["fillcast_web", "NONE"])  # querysets alone must suffice, too
def test_another_tenant_gets_nothing_of_a_tenant(victim: Victim, role: str, part: int) -> None:
    caller = Caller(victim, tenant("cuckoo").user)
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    found = faults_at(all_endpoints(victim)[part::PARTS], caller, victim)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    require_none(found)


@pytest.mark.exhaustive
def test_staff_without_a_role_get_nothing_of_a_tenant(victim: Victim) -> None:
    require_none(faults_at(all_endpoints(victim), Caller(victim, staff(name="no-role")), victim))


# --- that these tests can fail: views that are open on purpose


def open_view(request: HttpRequest, pk: int) -> HttpResponse:
    return HttpResponse(f"<h1>{Feed.objects.get(pk=pk).name}</h1>")


def search_view(request: HttpRequest, name: str) -> HttpResponse:
    """A list that shows nothing without a search; each has a name of its own for that."""
    found = Feed.objects.filter(name__icontains=request.GET.get(name, "-"))
    return HttpResponse(", ".join(feed.name for feed in found))


def filtered_view(request: HttpRequest) -> HttpResponse:
    """A list that shows nothing until an owner is named, and refuses an unknown state."""
    if request.GET.get("state", "open") not in ("open", "closed"):
        return HttpResponse(status=400)
    whose = request.GET.get("whose", "")
    found = Feed.objects.filter(pk=whose if whose.isdecimal() else 0)
    return HttpResponse(", ".join(feed.name for feed in found))


class FeedSerializer(serializers.ModelSerializer[Feed]):
    class Meta:
        model = Feed
        fields = ("name",)


class OpenViewSet(viewsets.ReadOnlyModelViewSet[Feed]):
    """As the API's, but for its queryset: all feeds, for every caller."""

    authentication_classes = ()
    permission_classes = ()
    queryset = Feed.objects.order_by("pk")
    serializer_class = FeedSerializer
    pagination_class = None


class SearchedViewSet(OpenViewSet):
    """Its list is empty without `?search=`."""

    filter_backends: Any = (SearchFilter,)
    search_fields = ("name",)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        if "search" not in request.query_params:
            return Response([])
        return super().list(request, *args, **kwargs)


class OpenListView(ListView):  # type: ignore[type-arg]  # not generic at run time
    """A page with an unfiltered queryset."""

    model = Feed

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        return HttpResponse(", ".join(feed.name for feed in context["object_list"]))


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
    path("search/", search_view, {"name": "q"}),
    path("find/", search_view, {"name": "any-name"}),
    path("filtered/", filtered_view),
    path("listed/", OpenListView.as_view()),
    path("set/", OpenViewSet.as_view({"get": "list"})),
    path("set/<int:pk>/", OpenViewSet.as_view({"get": "retrieve"})),
    path("searched-set/", SearchedViewSet.as_view({"get": "list"})),
    path("silent/<int:pk>/", silent_view),
    path("changing/", changing_view),
    path("failing/<slug:slug>/", failing_view),
    path("polite/<int:pk>/", polite_view),
]


@pytest.mark.urls("tests.users.test_every_endpoint")
def test_open_views_are_found(victim: Victim, settings: Any) -> None:
    settings.MIDDLEWARE = []
    lines = faults_at(endpoints(victim, WORDS), Caller(victim), victim)
    found = {line.split(": ")[0] for line in lines}
    assert {line.split(": ")[0] for line in lines if "it failed" in line} == {
        f"{method} /failing/{victim.slug}/" for method in ("GET", "POST")
    }
    object_of = {"open": FIRST_ID, "silent": FIRST_ID, "failing": victim.slug}
    assert found == {
        *(
            f"{method} /{name}/{key}/"
            for method in ("GET", "POST")
            for name, key in object_of.items()
        ),
        *(f"GET /{name}/" for name in ("search", "find", "filtered", "listed", "set")),
        "GET /searched-set/",
        f"GET /set/{FIRST_ID}/",
        "POST /changing/",
    }
