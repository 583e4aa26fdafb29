"""What went wrong when a broker was asked, in words for who owns the account."""

from dataclasses import dataclass

from brokers.base import BrokerError
from brokers.messages import Check, CheckResult
from common.codes import Code
from common.errors import FillcastError, MisconfiguredError


@dataclass(frozen=True, slots=True)
class Explained:
    """about: whose matter it is (`broker`, `settings`, `installation`, `program`). said, to_do:
    what is so, in whole sentences, and what helps. No secret is blacked out yet."""

    about: str
    code: Code
    said: str
    to_do: str

    @property
    def is_ours(self) -> bool:
        """Whether it is a fault of our own program."""
        return self.about == "program"

    @property
    def as_check(self) -> Check:
        """It as a failed line of a connection test."""
        return Check(self.about, CheckResult.FAIL, self.said, self.to_do)


def explain(error: Exception, kind: str) -> Explained:
    """Turn any error into words that say what the owner of an account of this kind should do."""
    if isinstance(error, BrokerError):
        said = f"{error.code.sentence} {error.detail}".strip()
        return Explained("broker", error.code, said, error.code.hint)
    if isinstance(error, FillcastError):
        return Explained("settings", error.code, error.detail, error.code.hint)
    if isinstance(error, MisconfiguredError):
        tell = "Tell the operators."
        return Explained("installation", Code.INSTALLATION_FAULT, str(error), tell)
    if isinstance(error, ImportError):
        return Explained(
            "installation", Code.LIBRARY_MISSING,
            f"This process has no library for {kind} accounts{_named(error)}.",
            "Tell the operators to start a worker that has it.",
        )  # fmt: skip
    if isinstance(error, TimeoutError):
        return Explained(
            "broker", Code.BROKER_UNREACHABLE, "The broker did not answer in time.",
            "Check host and port, and that the broker's program runs; then test again.",
        )  # fmt: skip
    if isinstance(error, OSError):
        return Explained(
            "broker", Code.BROKER_UNREACHABLE,
            f"The broker could not be reached ({error.strerror or type(error).__name__}).",
            "Check host, port and network; then test again.",
        )  # fmt: skip
    return Explained(
        "program", Code.UNEXPECTED, f"Our own program failed ({type(error).__name__}).",
        "Tell the operators; the log has the place.",
    )  # fmt: skip


def _named(error: ImportError) -> str:
    return f" ({error.name})" if error.name else ""
