"""A host name is resolved and checked at each connect; only checked addresses are used."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from brokers import safe_connect
from brokers.base import NotSent, ReadFailed
from brokers.types import ConnectionSpec
from common.reason_codes import Code
from connections.account_settings import hosts
from tests.ibkr.factories import Environment, order, with_environment

NAME = "gw.example.com"
HERE, ELSEWHERE = "127.0.0.1", "10.20.30.40"


class Names:
    """The next answers of the name server; the last one is repeated."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0
        loop: Any = asyncio.get_running_loop()
        loop.getaddrinfo = self._look_up

    async def _look_up(self, host: str, *_: Any, **__: Any) -> list[Any]:
        assert host == NAME
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in found]


@contextmanager
def here_is_public() -> Iterator[None]:
    """The fake listens on this machine; treat it as a public gateway."""
    safe_connect.set_address_policy(lambda address: str(address) in (HERE, "2001:db8::1"))
    try:
        yield
    finally:
        safe_connect.set_address_policy(hosts.may_resolve_to)


def named(stage: Environment) -> ConnectionSpec:
    return replace(stage.spec, settings={**stage.spec.settings, "host": NAME})


@with_environment
async def test_host_name_of_private_address_is_not_connected(stage: Environment) -> None:
    """Check with the installation's host policy."""
    Names([HERE])
    with pytest.raises(ReadFailed) as refused:
        await stage.adapter.account(named(stage))
    assert refused.value.code is Code.HOST_NOT_ALLOWED
    assert "Enter the address" in refused.value.detail
    (check,) = await stage.adapter.test(named(stage))
    assert (check.name, check.result) == ("settings", "fail")
    assert not stage.tws.connects


@with_environment
async def test_host_name_moved_to_private_address_is_not_connected(
    stage: Environment,
) -> None:
    names = Names([HERE], [ELSEWHERE])
    with here_is_public():
        assert all(check.result != "fail" for check in await stage.adapter.test(named(stage)))
        assert names.asked == 1, "what was judged is dialled: it is not looked up again"
        await stage.tws.restart()  # the connection is lost; the session reconnects
        await stage.wait_until(lambda: names.asked >= 2)
        with pytest.raises(NotSent) as refused:
            await stage.adapter.submit(named(stage), order(), lambda _: None)
    assert refused.value.code is Code.HOST_NOT_ALLOWED
    assert len(stage.tws.connects) == 1


@with_environment
async def test_one_private_address_among_several_is_refused(stage: Environment) -> None:
    Names([HERE, ELSEWHERE])
    with here_is_public(), pytest.raises(ReadFailed) as refused:
        await stage.adapter.account(named(stage))
    assert refused.value.code is Code.HOST_NOT_ALLOWED
    assert not stage.tws.connects


@with_environment
async def test_ipv4_address_is_tried_first(stage: Environment) -> None:
    Names(["2001:db8::1", HERE])
    with here_is_public():
        await stage.adapter.connect(named(stage))
    assert stage.session.usable


@with_environment
async def test_next_address_is_tried_after_a_refusal(stage: Environment) -> None:
    """A name may have several addresses, of which one may fail."""
    Names(["127.0.0.2", HERE])
    tried: list[str] = []
    safe_connect.set_address_policy(lambda address: address.is_loopback)
    try:
        await stage.adapter.connect(named(stage))
        assert stage.session.usable
        with pytest.raises(ConnectionRefusedError):
            await safe_connect.connect_safely(NAME, partial(refused, tried))
    finally:
        safe_connect.set_address_policy(hosts.may_resolve_to)
    assert tried == ["127.0.0.2", HERE], "each that was judged, once"


async def refused(tried: list[str], address: str) -> None:
    tried.append(address)
    raise ConnectionRefusedError


def test_unresponsive_address_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(safe_connect, "ATTEMPT_SECONDS", 0.01)

    async def connect(address: str) -> str:
        if address == HERE:
            await asyncio.Event().wait()
        return address

    async def dialled() -> str:
        Names(["2001:db8::1", HERE])
        return await safe_connect.connect_safely(NAME, connect)

    with here_is_public():
        assert asyncio.run(dialled()) == "2001:db8::1"


@with_environment
async def test_unresolvable_name_is_not_connected(stage: Environment) -> None:
    Names([])
    with pytest.raises(ReadFailed) as failed:
        await stage.adapter.account(named(stage))
    assert failed.value.code is Code.NOT_CONNECTED


@pytest.mark.parametrize(
    ("typed", "dialled"),
    [("10.0.0.5", "10.0.0.5"), ("127.1", HERE), ("2130706433", HERE), ("::1", "::1"),
     ("fe80::1%eth0", "fe80::1%eth0")],
)  # fmt: skip
def test_literal_address_is_connected_without_lookup(typed: str, dialled: str) -> None:
    """It was checked when it was entered: no name is looked up."""
    assert asyncio.run(safe_connect.addresses_of(typed)) == [dialled]


def test_invalid_host_name_is_not_connected() -> None:
    with pytest.raises(OSError, match="is not a valid host name"):
        asyncio.run(safe_connect.addresses_of("x" * 80 + ".example.com"))
