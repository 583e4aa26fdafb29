"""Where messages may go. Names are resolved by a table here, connections are real."""

import ipaddress
import socket
from typing import Any

import pytest
import requests

from events.outbound import RefusedError, guarded, is_allowed, resolve_allowed_address
from tests.events.receiver import Receiver

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::", "2001:0:0:0:0:0:80ff:fffe", "64:ff9b:1::7f00:1", "64:ff9b:1::808:808",
        "::127.0.0.1", "::ffff:0:10.0.0.1", "fe80::1%eth0", "fec0::1", "2002:a9fe:a9fe::1",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_notation(text: str) -> None:
    assert not is_allowed(ipaddress.ip_address(text), [], encrypted=True)


def test_public_addresses_need_tls_named_networks_do_not() -> None:
    public, named = ipaddress.ip_address("93.184.215.14"), ipaddress.ip_address("10.1.2.3")
    tens = [ipaddress.ip_network("10.0.0.0/8")]
    assert is_allowed(public, [], encrypted=True)
    assert not is_allowed(public, [], encrypted=False)
    assert is_allowed(named, tens, encrypted=False)
    assert is_allowed(ipaddress.ip_address("::ffff:10.1.2.3"), tens, encrypted=True)
    assert not is_allowed(ipaddress.ip_address("11.1.2.3"), tens, encrypted=False)
    assert is_allowed(ipaddress.ip_address("2606:2800:220:1::1"), tens, encrypted=True)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """Host → what each look-up answers, one after the other; literals resolve to themselves."""
    table: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host in table:
            found = table[host].pop(0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in found]
        return real(host, port, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


def test_one_private_address_among_public_ones_is_refused(
    names: dict[str, list[list[str]]],
) -> None:
    names["mixed.example"] = [["93.184.215.14", "10.0.0.1"]]
    with pytest.raises(RefusedError, match=r"mixed\.example is in a network"):
        resolve_allowed_address("mixed.example", 443, [], encrypted=True)


def test_checked_address_is_the_one_connected_to(
    names: dict[str, list[list[str]]], hook: Receiver
) -> None:
    names["turncoat.example"] = [["127.0.0.1"], ["10.255.255.1"]]
    with guarded(LOOPBACK, seconds=60):
        answer = requests.post(f"http://turncoat.example:{hook.port}/x", json={}, timeout=30)
    assert answer.status_code == 200
    assert hook.paths == ["/x"]
    assert names["turncoat.example"] == [["10.255.255.1"]]  # no second look-up


def test_name_resolving_to_internal_address_is_never_connected(
    names: dict[str, list[list[str]]], hook: Receiver
) -> None:
    names["inside.example"] = [["127.0.0.1"]]
    with pytest.raises(RefusedError), guarded([], seconds=60):
        requests.post(f"https://inside.example:{hook.port}/x", json={}, timeout=30)
    assert hook.journal == []


def test_redirect_target_is_checked_like_any_connection(
    names: dict[str, list[list[str]]], hook: Receiver
) -> None:
    names["inside.example"] = [["127.0.0.2"]]
    hook.answers, hook.location = [302], f"http://inside.example:{hook.port}/secret"
    with (
        pytest.raises(RefusedError),
        guarded([ipaddress.ip_network("127.0.0.1/32")], seconds=60),
    ):
        requests.post(f"http://127.0.0.1:{hook.port}/x", json={}, timeout=30)
    assert hook.paths == ["/x"]


def test_connections_are_unchanged_without_guard(hook: Receiver) -> None:
    assert requests.post(hook.url().replace("json", "http"), json={}, timeout=30).status_code == 200


def test_slow_dripping_response_is_aborted(hook: Receiver) -> None:
    hook.drip = True
    with (
        pytest.raises(requests.RequestException),
        guarded(LOOPBACK, seconds=0.5),
    ):
        requests.post(f"http://127.0.0.1:{hook.port}/x", json={}, timeout=60)  # for each read
