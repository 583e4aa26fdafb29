"""Sealed boxes open for the right key and the right row only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.sealing import (
    CannotOpenError,
    is_sealed_with_key,
    new_private_key,
    open_sealed,
    public_key_of,
    seal,
)

OLD, NEW = new_private_key(), new_private_key()


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=50))
def test_sealed_box_opens_with_its_key_and_context(plaintext: bytes, context: bytes) -> None:
    box = seal(plaintext, context=context, public_key=public_key_of(NEW))
    assert open_sealed(box, context=context, private_keys=[NEW]) == plaintext
    assert plaintext not in box or len(plaintext) < 4


def test_sealing_same_text_twice_differs() -> None:
    public = public_key_of(NEW)
    assert seal(b"x", context=b"", public_key=public) != seal(b"x", context=b"", public_key=public)


def test_sealed_box_moved_to_another_row_does_not_open() -> None:
    box = seal(b"token", context=b"row 1", public_key=public_key_of(NEW))
    with pytest.raises(CannotOpenError, match="another row"):
        open_sealed(box, context=b"row 2", private_keys=[NEW])


@given(st.data())
def test_changed_bit_of_sealed_box_is_detected(data: st.DataObject) -> None:
    box = bytearray(seal(b"token", context=b"row", public_key=public_key_of(NEW)))
    position = data.draw(st.integers(0, len(box) - 1))
    box[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CannotOpenError):
        open_sealed(bytes(box), context=b"row", private_keys=[NEW])


def test_older_key_opens_beside_new_key_but_other_key_does_not() -> None:
    box = seal(b"token", context=b"row", public_key=public_key_of(OLD))
    with pytest.raises(CannotOpenError, match="No private key"):
        open_sealed(box, context=b"row", private_keys=[NEW])
    assert open_sealed(box, context=b"row", private_keys=[NEW, OLD]) == b"token"
    assert is_sealed_with_key(box, public_key_of(OLD))
    assert not is_sealed_with_key(box, public_key_of(NEW))


@pytest.mark.parametrize("text", [b"", b"\x01", b"plain text that was never sealed" * 4])
def test_malformed_box_is_reported_as_such(text: bytes) -> None:
    with pytest.raises(CannotOpenError):
        open_sealed(text, context=b"", private_keys=[NEW])


def test_decryption_error_reveals_no_contents() -> None:
    box = seal(b"canary-7f3a", context=b"row", public_key=public_key_of(NEW))
    with pytest.raises(CannotOpenError) as caught:
        open_sealed(box, context=b"other", private_keys=[NEW])
    assert "canary-7f3a" not in repr(caught.value)
