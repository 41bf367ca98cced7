"""Studies and arenas for the arena's tests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from ablations.arena.clock import Clock
from ablations.arena.server import Arena, opened
from ablations.arena.settings import Settings
from tests.ablations.arena import studies

FIELD = re.compile(r'name="([a-z_]+)" value="([^"]*)"')


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of six variants whose copies have been prepared; not to be changed."""
    path = studies.make(tmp_path_factory.mktemp("studies") / "made", prompts=studies.PROMPTS)
    with opened(path, Settings(control_videos=3), lambda line: None):
        pass
    (path / "votes.sqlite").unlink()
    return path


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of that study to vote in."""
    return Path(shutil.copytree(made, tmp_path / "study"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """No URL (the study's SQLite file), then an emptied PostgreSQL."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("fresh_postgres")
    return url


class Hand:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


class Visitor:
    """A browser's requests without a browser."""

    def __init__(self, arena: Arena, clock: Hand) -> None:
        self.arena = arena
        self.clock = clock
        self.client = TestClient(arena.app, "http://localhost:8008", raise_server_exceptions=False)
        self.client.follow_redirects = False

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)  # type: ignore[return-value]

    def post(self, path: str, data: dict[str, str], **options: Any) -> httpx.Response:
        return self.client.post(path, data=data, **options)  # type: ignore[return-value]

    def begin(self) -> Visitor:
        """Through the first page to the desk."""
        answer = self.post("/begin", fields(self.get("/")))
        assert answer.status_code == 303
        return self

    def shown(self) -> dict[str, str]:
        """The fields of the pair on the screen, its answer still missing."""
        page = self.get("/rate")
        assert page.status_code == 200
        return fields(page)

    def vote(self, answer: str = "left") -> httpx.Response:
        """Watch the pair and answer."""
        form = self.shown()
        self.clock.seconds += 2
        return self.post("/vote", {**form, "answer": answer})


def fields(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(FIELD.findall(page.text))


Open = Callable[..., Arena]


@pytest.fixture
def clock() -> Hand:
    """The arena's steady counter."""
    return Hand()


@pytest.fixture
def open_arena(study: Path, clock: Hand) -> Iterator[Open]:
    """Opens the study's arena with some settings; again, once the first is closed."""
    stack = ExitStack()

    def start(folder: Path = study, **settings: Any) -> Arena:
        stack.close()
        settings = {"control_videos": 3, "page_rate": 1000.0, **settings}
        arena = stack.enter_context(opened(folder, Settings(**settings), lambda line: None))
        # A whole second: a seal keeps milliseconds, and what they leave out must not be rounded up.
        arena.desk.clock = Clock(arena.store.latest(), wall=lambda: 1_800_000_000.0, steady=clock)
        return arena

    with stack:
        yield start


@pytest.fixture
def visit(clock: Hand) -> Iterator[Callable[[Arena], Visitor]]:
    """Opens a new browser at an arena."""
    with ExitStack() as stack:

        def come(arena: Arena) -> Visitor:
            visitor = Visitor(arena, clock)
            stack.enter_context(visitor.client)
            return visitor

        yield come
