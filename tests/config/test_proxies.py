"""Whose word counts about where a request came from."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from config.middleware.proxies import FORWARDED_HEADERS, ProxyMiddleware, caller_of

OURS = (ip_network("10.0.0.0/24"), ip_network("192.0.2.7/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),  # not ours: its word does not count
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 192.0.2.7", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.5, 10.0.0.6", "10.0.0.5"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
    ],
)
def test_the_last_hop_that_is_not_ours_is_the_caller(
    peer: str, forwarded: str, caller: str
) -> None:
    assert caller_of(peer, forwarded, OURS) == caller


@pytest.mark.parametrize("peer", ["198.51.100.1", "10.0.0.1"])
def test_nobody_behind_it_sees_a_claim(peer: str, settings: Any) -> None:
    settings.FILLCAST_TRUSTED_PROXIES = OURS
    seen: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    claims: dict[str, Any] = dict.fromkeys(FORWARDED_HEADERS, "203.0.113.9")
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_PROTO="https", **claims)
    ProxyMiddleware(answer)(request)
    [told] = seen
    assert not set(FORWARDED_HEADERS) & set(told.META)
    is_ours = peer == "10.0.0.1"
    assert told.META["REMOTE_ADDR"] == ("203.0.113.9" if is_ours else peer)
    assert told.is_secure() is is_ours
