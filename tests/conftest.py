"""What every test may use: small real clips, and system parts that must not be missing in CI."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every program that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEDIA = Path(__file__).parent / "media"


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of the small real clips."""
    return MEDIA


@pytest.fixture(scope="session")
def require() -> Callable[..., str]:
    """`require("sbatch")` gives the program's path; skips on a laptop, fails where CI=true."""

    def find(*programs: str) -> str:
        for program in programs:
            if path := shutil.which(program):
                return path
        reason = f"needs {' or '.join(programs)}, which is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)

    return find
