"""Sign-in at the public endpoint: a real web process, many people at once, guesses, claims."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.cache import cache

from tests.sampling import exhaustive
from tests.web_process import WebProcess, all_at_once
from users.models import User

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
MAX_CONCURRENT, PASSWORD = 40, "correct horse battery"
ITERATIONS = 100_000  # a tenth of production: enough for requests to wait for each other
CHEAPER = {
    "DJANGO_SETTINGS_MODULE": "tests.cheaper_hash_settings",
    "TEST_HASH_ITERATIONS": str(ITERATIONS),
}


@pytest.fixture(scope="module")
def process(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[WebProcess]:
    """One for all tests: it keeps the state of users in the database and in Redis."""
    log = tmp_path_factory.mktemp("web") / "web.log"
    with django_db_blocker.unblock(), WebProcess(log, **CHEAPER) as started:
        yield started


@pytest.fixture
def web(process: WebProcess, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> WebProcess:
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", ITERATIONS)
    cache.clear()
    User.objects.create_user("alice", password=PASSWORD)
    User.objects.create_superuser("olga", password=PASSWORD)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "path"), [("alice", "/login/"), exhaustive(("olga", "/admin/login/"))]
)
def test_forty_concurrent_sign_ins_are_all_answered(web: WebProcess, name: str, path: str) -> None:
    browsers = [web.browser() for _ in range(MAX_CONCURRENT)]
    answers = all_at_once(browsers, (name, PASSWORD), path=path)
    statuses = Counter(answer.status for answer in answers)
    assert set(statuses) <= {302, 503}
    assert statuses[302] >= MAX_CONCURRENT // 2  # a machine that others keep busy asks some to wait
    for browser, answer in zip(browsers, answers, strict=True):
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert browser.sign_in(name, PASSWORD, path).status == 302
    home = "/" if name == "alice" else "/admin/"
    assert {browser.get(home).status for browser in browsers[:3]} == {200}


@pytest.mark.slow
def test_concurrent_wrong_passwords_are_counted_exactly(web: WebProcess) -> None:
    """Ten are looked at, each of the others is refused unseen; the owner elsewhere is not."""
    browsers = [web.browser() for _ in range(MAX_CONCURRENT)]
    answers = all_at_once(browsers, ("alice", "a guess"), path="/login/")
    assert Counter(answer.status for answer in answers) == {200: 10, 429: MAX_CONCURRENT - 10}
    refused = web.browser().sign_in("alice", PASSWORD)
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert web.browser().sign_in("olga", PASSWORD).status == 302


def test_forwarded_address_is_not_trusted_without_proxy(web: WebProcess) -> None:
    browser = web.browser()
    guesses = [
        browser.sign_in("alice", "a guess", X_Forwarded_For=f"198.51.100.{n}") for n in range(12)
    ]
    assert [answer.status for answer in guesses] == [200] * 10 + [429] * 2


def test_configured_proxy_is_trusted_for_one_hop(tmp_path: Path, transactional_db: None) -> None:
    """The last hop that is not one of ours counts; what its sender wrote before that does not."""
    User.objects.create_user("alice", password=PASSWORD)
    with WebProcess(tmp_path / "web.log", FILLCAST_TRUSTED_PROXIES="127.0.0.1", **CHEAPER) as web:
        browser = web.browser()
        from_one = [
            browser.sign_in("alice", "x", X_Forwarded_For=f"203.0.113.{n}, 198.51.100.1")
            for n in range(11)
        ]
        assert [answer.status for answer in from_one] == [200] * 10 + [429]
        elsewhere = browser.sign_in("alice", PASSWORD, X_Forwarded_For="198.51.100.2")
        assert elsewhere.status == 302


def test_unknown_api_callers_are_throttled_and_valid_keys_are_not(web: WebProcess) -> None:
    from users.services import create_api_key

    _key, secret = create_api_key(User.objects.get(username="alice"), "a script")
    stranger = web.browser()
    answers = Counter(
        stranger.get(
            "/api/v1/me/",
            **({"Authorization": f"Bearer fc_{n}_x"} if n % 2 else {}),
            X_Forwarded_For=f"198.51.100.{n}",
        ).status
        for n in range(150)
    )
    assert set(answers) == {401, 429}
    assert answers[429] >= 150 - 2 * 60  # a minute may begin meanwhile
    assert stranger.get("/api/v1/me/", Authorization=f"Bearer {secret}").status == 200
