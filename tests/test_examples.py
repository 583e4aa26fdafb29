"""`make test` draws the same examples in every run, on every Python and every machine."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import DRAWS_OTHERS, examples

DRAWN = st.tuples(
    st.integers(),
    st.floats(),
    st.decimals("0.00001", "99999", places=8),
    st.lists(st.sampled_from(["fill", "reject", "lost"]), max_size=4),
    st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.datetimes()),
)
DIGEST = "95a02790a4ac6e02"  # a new version of Hypothesis may draw others: then this is theirs


@pytest.mark.skipif(DRAWS_OTHERS, reason="`make test-all` draws others in each run")
def test_usual_profile_draws_the_same_examples_everywhere() -> None:
    """Whatever modules are imported, whatever an earlier run has found."""
    drawn = []

    @given(DRAWN)
    def draw(values: object) -> None:
        drawn.append(repr(values))

    draw()
    assert len(drawn) == examples(100)
    digest = hashlib.sha256("\n".join(drawn).encode()).hexdigest()[:16]
    assert digest == DIGEST, (
        f"other examples were drawn ({digest}), the first is {drawn[0]}: does another version of"
        " Hypothesis run here, or does the usual profile draw by something else than its seed?"
    )
