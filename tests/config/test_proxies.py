"""The client's address behind trusted and unknown proxies."""

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
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),  # not trusted: its header is ignored
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 192.0.2.7", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.5, 10.0.0.6", "10.0.0.5"),
        ("10.0.0.1", "203.0.113.9, no address", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
    ],
)
def test_last_untrusted_hop_is_the_caller(peer: str, forwarded: str, caller: str) -> None:
    assert caller_of(peer, forwarded, OURS) == caller


@pytest.mark.parametrize("peer", ["198.51.100.1", "10.0.0.1"])
def test_forwarded_headers_are_removed_and_caller_is_set(peer: str, settings: Any) -> None:
    settings.FILLCAST_TRUSTED_PROXIES = OURS
    received: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        received.append(request)
        return HttpResponse()

    claims: dict[str, Any] = dict.fromkeys(FORWARDED_HEADERS, "203.0.113.9")
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_PROTO="https", **claims)
    ProxyMiddleware(answer)(request)
    [forwarded] = received
    assert not set(FORWARDED_HEADERS) & set(forwarded.META)
    is_trusted = peer == "10.0.0.1"
    assert forwarded.META["REMOTE_ADDR"] == ("203.0.113.9" if is_trusted else peer)
    assert forwarded.is_secure() is is_trusted
