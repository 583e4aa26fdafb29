"""deploy/lock_check.py: a lock that is not that of its requirements."""

from pathlib import Path

import pytest

from deploy import lock_check

HASH = "    --hash=sha256:" + "0" * 64
LOCK = f"""\
alpha==1.2.0 ; python_version < '3.12' \\
{HASH}
    # via -r requirements.in
alpha==1.3.0 ; python_version >= '3.12' \\
{HASH}
    # via
    #   -r requirements.in
    #   beta
beta-x[extra]==2.0 \\
{HASH}
    # via alpha
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/lock.sh").write_text("for name in requirements requirements-dev; do")
    (tmp_path / "requirements.in").write_text("# why\nAlpha~=1.2  # a reason\n")
    (tmp_path / "requirements.txt").write_text(LOCK)
    return tmp_path


def faults(root: Path) -> str:
    with pytest.raises(SystemExit) as raised:
        lock_check.main(root)
    return str(raised.value.code)


def test_locks_of_this_checkout_are_current() -> None:
    lock_check.main()


def test_current_lock_is_accepted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock_check.main(root)
    assert capsys.readouterr().out == "1 locks\n"


def test_requirement_that_the_lock_does_not_meet_is_named(root: Path) -> None:
    (root / "requirements.in").write_text("alpha>=1.4\nbeta.X\ngamma\n")
    output = faults(root)
    assert "alpha>=1.4, but locked is ['1.2.0', '1.3.0']" in output
    assert "gamma, but locked is nothing" in output
    assert "beta" not in output
    assert output.endswith("make lock")


def test_removed_requirement_without_a_new_lock_is_named(root: Path) -> None:
    (root / "requirements.in").write_text("beta-x\n")
    assert "alpha is not in requirements.in any more" in faults(root)


def test_pin_without_a_hash_is_named(root: Path) -> None:
    (root / "requirements.txt").write_text(
        LOCK.replace(f"beta-x[extra]==2.0 \\\n{HASH}", "beta-x==2")
    )
    assert "beta-x has no hash" in faults(root)


def test_file_that_nothing_locks_is_named(root: Path) -> None:
    (root / "requirements-new.in").write_text("alpha\n-r requirements.in\n")
    output = faults(root)
    assert "requirements-new.txt does not exist" in output
    assert "lock.sh does not lock requirements-new.in" in output
