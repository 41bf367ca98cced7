"""What every test may use: small real clips, and system parts that must not be missing in CI."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and so would every program that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for _name in ("no_proxy", "NO_PROXY"):
    # Servers of the tests are on this machine; a proxy knows nothing of them.
    os.environ[_name] = ",".join(filter(None, [os.environ.get(_name), "127.0.0.1", "localhost"]))

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


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL with an empty database."""
    from tests.ablations.arena import postgres

    binaries = postgres.programs()
    if binaries is None or (os.geteuid() == 0 and shutil.which("runuser") is None):
        reason = "needs PostgreSQL's initdb and pg_ctl, which are not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres.cluster(binaries) as url:
        yield url


@pytest.fixture
def fresh_postgres(postgres_url: str) -> str:
    """That PostgreSQL, emptied."""
    from sqlalchemy import create_engine, text

    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return postgres_url
