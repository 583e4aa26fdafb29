"""A broker's messages are kept without secrets, and without parts of one at a cut."""

import json
import time

import pytest

from brokers.redaction import END_BYTES, MAX_LENGTH, _unescape, readable_excerpt, without_secrets

SECRETS = {"api_key": "AKEY123456789012345", "secret": "pässwörd-of-mine", "pin": "12"}


@pytest.mark.parametrize(
    ("came", "redacted"),
    [
        (b'{"a":"AKEY123456789012345","b":"AKEY1234567890', '{"a":"***","b":"***'),
        (b'56789012345","b":1}', '***","b":1}'),
        ('of-mine", "pässwö'.encode()[:-1], '***", "***'),  # it broke off within a character
        (b'{"b":"AKEY12345678901234', '{"b":"***'),
        (b'{"b":"AK', '{"b":"AK'),  # so little says nothing
        (b"12 of 12", "12 of 12"),
        (b"\0\xff", "\\0\\xff"),
        (b"", ""),
    ],
)
def test_truncated_secret_is_redacted(came: bytes, redacted: str) -> None:
    assert readable_excerpt(came, SECRETS) == redacted


def test_wide_encoding_cut_within_a_character() -> None:
    came = 'x "AKEY12345'.encode("utf-16-le")
    assert readable_excerpt(came, SECRETS, "utf-16-le") == readable_excerpt(
        came[:-1], SECRETS, "utf-16-le"
    )
    assert readable_excerpt(came, SECRETS, "utf-16-le") == 'x "***'


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("before", range(24))
@pytest.mark.parametrize("odd", [0, 1])
def test_secret_at_our_own_cut_is_redacted(before: int, coding: str, odd: int) -> None:
    """The ends are full of secrets: what is left of them is short enough to be shown to its cut."""
    key = SECRETS["api_key"].encode(coding)
    at_the_cut = key * (END_BYTES // len(key) + 2)
    came = "x".encode(coding) * before + at_the_cut
    came += b"y" * 10 * END_BYTES + at_the_cut + "z".encode(coding) * before + b"!" * odd
    redacted = readable_excerpt(came, SECRETS, coding)
    assert len(redacted) <= MAX_LENGTH
    name = SECRETS["api_key"]
    assert not [name[n : n + 3] for n in range(len(name) - 2) if name[n : n + 3] in redacted]
    assert redacted.startswith("x" * before + "***")


def test_long_text_keeps_both_ends() -> None:
    redacted = readable_excerpt(b"begin" + b"y" * 5_000_000 + b"end", SECRETS)
    assert (redacted[:6], redacted[-4:], len(redacted)) == ("beginy", "yend", MAX_LENGTH)


SPELLED = {
    '"pässwörd"': "pässwörd",
    r'"p\u00e4ssw\u00f6rd"': "pässwörd",
    '"ab/cd+ef=="': "ab/cd+ef==",
    r'"ab\/cd+ef=="': "ab/cd+ef==",  # as PHP writes it
    r'"\u00e4b\/cd"': "äb/cd",
    r'"äb\/cd"': "äb/cd",
    r'"a\"b\\c"': 'a"b\\c',
    r'"ab/cd\u002Bef=="': "ab/cd+ef==",  # as .NET writes it
    r'"ab/cd+ef\u003d\u003d"': "ab/cd+ef==",  # as Gson writes it
    r'"pass\ud83d\uDE00word"': "pass😀word",
    r'"\u0061bcdef"': "abcdef",
    r'"-----BEGIN KEY-----\nMC4\/\n"': "-----BEGIN KEY-----\nMC4/\n",
}


@pytest.mark.parametrize("spelled", SPELLED)
def test_secret_is_redacted_in_every_json_spelling(spelled: str) -> None:
    secret = SPELLED[spelled]
    assert json.loads(spelled) == secret
    assert without_secrets(f'{{"key": {spelled}}}', {"key": secret}) == '{"key": "***"}'
    for coding in ("utf-8", "utf-16-le"):
        whole, cut = (f'"no": {one}'.encode(coding) for one in (spelled, spelled[:-2]))
        assert readable_excerpt(whole, {"key": secret}, coding) == '"no": "***"'
        assert readable_excerpt(cut, {"key": secret}, coding) == '"no": "***'


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("within", [0, 1, 2])
def test_secret_in_nested_json_is_redacted_even_when_cut(spelled: str, within: int) -> None:
    secret, text = {"key": SPELLED[spelled]}, spelled[1:-1]
    for _ in range(within):
        text = json.dumps(text)[1:-1]
    assert without_secrets(f"no: {text}!", secret) == "no: ***!"
    name = _unescape(SPELLED[spelled]).text
    pieces = [name[n : n + 3] for n in range(len(name) - 2)]
    for cut in range(1, len(text)):
        for came in (f"no: {text[:cut]}", f"{text[cut:]} no"):
            left = _unescape(readable_excerpt(came.encode(), secret)).text
            assert not [one for one in pieces if one in left], came


def test_text_of_backslashes_is_fast() -> None:
    credentials = {"key": "\\" * 60 + "x", "bare": "\\\\\\"}
    came = ("\\" * 7_000 + "ux" * 400).encode()
    took = []
    for _ in range(10):  # the best of them: a busy machine slows some
        began = time.process_time()
        readable_excerpt(came, credentials)
        assert without_secrets("it is \\\\\\", credentials) == "it is ***"
        took.append(time.process_time() - began)
        if took[-1] < 1:
            return
    pytest.fail(f"at best {min(took):.1f} s")


def test_secret_with_equal_ends_is_redacted_at_an_end() -> None:
    for came, redacted in (("no: abcabc", "no: ***"), ("abcabc no", "*** no"), ("abcab", "***")):
        assert readable_excerpt(came.encode(), {"key": "abcabc"}) == redacted


def test_secret_within_a_sentence_is_redacted() -> None:
    redacted = without_secrets('the key a"b\\c and pässwörd', {"key": 'a"b\\c', "word": "pässwörd"})
    assert redacted == "the key *** and ***"


@pytest.mark.parametrize("secret", ["butterfly1", "newton99", "u00e4bcd1", "x41bcd12", "r\\b\\n-x"])
def test_secret_after_a_backslash_is_redacted(secret: str) -> None:
    """As in Windows' names of users and folders, as they are or in JSON."""
    for before in ("DOM\\", '{"user":"DOM\\\\', "\\" * 5):
        assert without_secrets(f"{before}{secret} no", {"key": secret}) == f"{before}*** no"
        assert readable_excerpt(f"{before}{secret}".encode(), {"key": secret}) == f"{before}***"
        assert readable_excerpt(f"{before}{secret[:6]}".encode(), {"key": secret}) == f"{before}***"
