"""A form in an encoding that Django does not read is refused, and costs no session of the pool."""

import http.client
from collections.abc import Iterator

import pytest
from django.test import Client

from tests.web_process import WebProcess

FORM = "application/x-www-form-urlencoded; charset="
MOST_SESSIONS = 16  # of a web process's pool (config/databases.py)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, django_db_setup: None) -> Iterator[WebProcess]:
    with WebProcess(tmp_path_factory.mktemp("web") / "log") as process:
        yield process


def _post(web: WebProcess, path: str, charset: str) -> int:
    token = web.browser()
    token.get("/login/")
    cookies = f"csrftoken={token.cookies['csrftoken']}"
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    headers = {"Content-Type": FORM + charset, "Cookie": cookies}
    connection.request("POST", path, "username=a", headers)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_strangers_forms_in_other_encodings_take_no_session(web: WebProcess) -> None:
    """Each kept one of the pool's for ever: after 16 the process answered 503 to everybody."""
    for number in range(MOST_SESSIONS + 2):
        path = ("/login/", "/", "/no-such-page/", "/admin/login/")[number % 4]
        assert _post(web, path, ("utf-7", "latin-1", "utf-16")[number % 3]) == 415, path
    assert web.browser().get("/login/").status == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("charset", "status"), [("utf-8", 200), ("UTF8", 200), ("no-such", 200), ("utf-7", 415)]
)
def test_form_is_read_if_it_is_in_utf_8(client: Client, charset: str, status: int) -> None:
    """An encoding that no one knows is left out by Django, as one that is not named."""
    answer = client.generic("POST", "/login/", b"username=a&password=b", FORM + charset)
    assert answer.status_code == status


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/login/", "/no-such-page/", "/static/no-such-file", "/admin/"])
@pytest.mark.parametrize("content_type", [
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\xe9",
    "multipart/form-data; boundary=" + "x" * 300, "application/x-www-form-urlencoded",
])  # fmt: skip
def test_form_that_cannot_be_read_is_no_error_of_the_server(path: str, content_type: str) -> None:
    client = Client(enforce_csrf_checks=True)
    fields = "&".join(f"a{number}=" for number in range(2_000))
    assert client.generic("POST", path, fields, content_type).status_code == 400
