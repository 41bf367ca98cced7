"""A wrong key or value of the arena is one line that says what would be right."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ablations import arena
from ablations.arena.settings import Settings, read
from bench.errors import UserError

CONF = Path(__file__).parents[3] / "conf" / "arena" / "default.yaml"


def test_the_yaml_holds_every_key_at_its_default() -> None:
    values = yaml.safe_load(CONF.read_text())
    assert read(values) == Settings()
    names = {field.alias or name for name, field in Settings.model_fields.items()}
    assert set(values) == names


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prot": 1}, "arena.prot is not a key of the arena; did you mean port?"),
        ({"sizing": {"margn": 1}}, "arena.sizing.margn is not a key of the arena; did you mean"),
        ({"port": 99999}, "arena.port: Input should be less than or equal to 65535"),
        ({"access": "closed"}, "arena.access: Input should be 'open' or 'invitation'"),
        ({"question": "smell"}, "question='smell' is not one of overall, motion"),
        ({"question": "Bad Key", "question_text": "x"}, "arena.question"),
        ({"pairs_per_rater": 4, "controls_per_rater": 3}, "at most half of pairs_per_rater = 4"),
        ({"votes_per_variant": 0}, "arena.votes_per_variant"),
        ({"completion_url": "javascript:alert(1)"}, "arena.completion_url"),
        ({"trust_proxy": "*"}, "'*' is no address; true, false or addresses of proxies"),
        ({"trust_proxy": "10.0.0.2,proxy"}, "'proxy' is no address"),
    ],
)
def test_a_wrong_value_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("trusted", "sender", "believed"),
    [
        (True, "127.0.0.1", True),
        (True, "203.0.113.9", False),
        ("10.0.0.2, 10.1.0.0/16", "10.0.0.2", True),
        ("10.0.0.2, 10.1.0.0/16", "10.1.7.7", True),
        ("10.0.0.2, 10.1.0.0/16", "127.0.0.1", False),
    ],
)
def test_only_a_trusted_proxy_says_where_a_rater_is(
    trusted: bool | str, sender: str, believed: bool
) -> None:
    proxies = read({"trust_proxy": trusted}).proxies
    assert proxies is not None
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    scope = {"type": "http", "client": (sender, 1), "headers": [(b"x-forwarded-for", b"8.8.8.8")]}
    asyncio.run(ProxyHeadersMiddleware(app, proxies)(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["8.8.8.8" if believed else sender]


def test_without_a_proxy_nobody_is_believed() -> None:
    assert read({}).proxies is None


def test_a_question_of_ones_own_needs_its_words() -> None:
    settings = read({"question": "hands", "question_text": "Whose hands are better?"})
    assert settings.question_words == "Whose hands are better?"


def test_a_port_in_use_is_one_line_before_any_video_is_prepared(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"arena.port={port} cannot be listened on"):
            arena.serve({"study": study, "arena": {"port": port, "control_videos": 0}})
    assert capsys.readouterr().out == ""


def test_a_database_that_cannot_be_had_is_one_line_before_any_video_is_prepared(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'none' / 'votes.sqlite'}"
    with pytest.raises(UserError, match=r"arena\.database"):
        arena.serve({"study": study, "arena": {"database": url, "port": 0}})
    assert capsys.readouterr().out == ""


def test_a_folder_that_is_no_study_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no study there"):
        arena.serve({"study": tmp_path, "arena": {}})
    assert list(tmp_path.iterdir()) == []
