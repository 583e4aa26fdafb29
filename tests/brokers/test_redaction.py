"""What a broker said is kept without secrets, nor any piece of one where it broke off."""

import json
import time

import pytest

from brokers.redaction import END_BYTES, MAX_LENGTH, _unescape, readable_excerpt, without_secrets

SECRETS = {"api_key": "AKEY123456789012345", "secret": "pässwörd-of-mine", "pin": "12"}


@pytest.mark.parametrize(
    ("came", "told"),
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
def test_no_piece_of_a_secret_is_left_where_it_broke_off(came: bytes, told: str) -> None:
    assert readable_excerpt(came, SECRETS) == told


def test_a_wide_coding_is_cut_within_a_character_too() -> None:
    came = 'x "AKEY12345'.encode("utf-16-le")
    assert readable_excerpt(came, SECRETS, "utf-16-le") == readable_excerpt(
        came[:-1], SECRETS, "utf-16-le"
    )
    assert readable_excerpt(came, SECRETS, "utf-16-le") == 'x "***'


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le"])
@pytest.mark.parametrize("before", range(24))
@pytest.mark.parametrize("odd", [0, 1])
def test_none_is_left_where_we_cut_what_is_long(before: int, coding: str, odd: int) -> None:
    """The ends are full of secrets: what is left of them is short enough to be shown to its cut."""
    key = SECRETS["api_key"].encode(coding)
    at_the_cut = key * (END_BYTES // len(key) + 2)
    came = "x".encode(coding) * before + at_the_cut
    came += b"y" * 10 * END_BYTES + at_the_cut + "z".encode(coding) * before + b"!" * odd
    told = readable_excerpt(came, SECRETS, coding)
    assert len(told) <= MAX_LENGTH
    name = SECRETS["api_key"]
    assert not [name[n : n + 3] for n in range(len(name) - 2) if name[n : n + 3] in told]
    assert told.startswith("x" * before + "***")


def test_what_is_long_keeps_both_ends() -> None:
    told = readable_excerpt(b"begin" + b"y" * 5_000_000 + b"end", SECRETS)
    assert (told[:6], told[-4:], len(told)) == ("beginy", "yend", MAX_LENGTH)


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
def test_a_secret_is_blacked_out_however_json_spells_it(spelled: str) -> None:
    secret = SPELLED[spelled]
    assert json.loads(spelled) == secret
    assert without_secrets(f'{{"key": {spelled}}}', {"key": secret}) == '{"key": "***"}'
    for coding in ("utf-8", "utf-16-le"):
        whole, cut = (f'"no": {one}'.encode(coding) for one in (spelled, spelled[:-2]))
        assert readable_excerpt(whole, {"key": secret}, coding) == '"no": "***"'
        assert readable_excerpt(cut, {"key": secret}, coding) == '"no": "***'


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("within", [0, 1, 2])
def test_none_is_left_in_a_text_within_a_text_nor_where_that_is_cut(
    spelled: str, within: int
) -> None:
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


def test_a_text_of_backslashes_takes_no_time() -> None:
    credentials = {"key": "\\" * 60 + "x", "bare": "\\\\\\"}
    came = ("\\" * 7_000 + "ux" * 400).encode()
    began = time.process_time()
    readable_excerpt(came, credentials)
    assert without_secrets("it is \\\\\\", credentials) == "it is ***"
    assert time.process_time() - began < 1


def test_a_secret_that_ends_as_it_begins_is_blacked_out_at_an_end() -> None:
    for came, told in (("no: abcabc", "no: ***"), ("abcabc no", "*** no"), ("abcab", "***")):
        assert readable_excerpt(came.encode(), {"key": "abcabc"}) == told


def test_a_secret_is_blacked_out_where_it_stands_in_a_sentence() -> None:
    told = without_secrets('the key a"b\\c and pässwörd', {"key": 'a"b\\c', "word": "pässwörd"})
    assert told == "the key *** and ***"


@pytest.mark.parametrize("secret", ["butterfly1", "newton99", "u00e4bcd1", "x41bcd12", "r\\b\\n-x"])
def test_a_secret_behind_a_backslash_is_no_escape(secret: str) -> None:
    """As in Windows' names of users and folders, as they are or in JSON."""
    for before in ("DOM\\", '{"user":"DOM\\\\', "\\" * 5):
        assert without_secrets(f"{before}{secret} no", {"key": secret}) == f"{before}*** no"
        assert readable_excerpt(f"{before}{secret}".encode(), {"key": secret}) == f"{before}***"
        assert readable_excerpt(f"{before}{secret[:6]}".encode(), {"key": secret}) == f"{before}***"
