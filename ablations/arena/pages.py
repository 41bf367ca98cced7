"""The pages: jinja2 templates with everything escaped, and the few static files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jinja2

HERE = Path(__file__).parent
STATIC = {
    "arena.css": "text/css; charset=utf-8",
    "arena.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

HEADINGS = {
    400: "That was not understood",
    403: "That is not possible",
    404: "Nothing here",
    405: "Nothing here",
    409: "Already settled",
    413: "Too large",
    421: "Not here",
    429: "A little slower, please",
    500: "Something went wrong",
    503: "Not stored yet",
}


def static(name: str) -> bytes:
    """A static file's bytes.

    Raises:
        KeyError: it is none of ours.
    """
    _ = STATIC[name]
    return (HERE / "static" / name).read_bytes()


def _version() -> str:
    digest = hashlib.sha256(b"".join(static(name) for name in sorted(STATIC)))
    return digest.hexdigest()[:8]


class Pages:
    """Renders templates with what all of them share."""

    def __init__(self, title: str) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(heading=title, version=_version())

    def render(self, template: str, **values: Any) -> bytes:
        """A page as bytes."""
        return self._environment.get_template(template).render(**values).encode()

    def refusal(
        self,
        status: int,
        reason: str,
        *,
        target: str | None = "/rate",
        label: str = "Continue",
        again: dict[str, str] | None = None,
    ) -> bytes:
        """The page of a refusal: what happened in one sentence, and where to go on."""
        heading = HEADINGS.get(status, HEADINGS[400])
        return self.render(
            "refused.html", heading=heading, reason=reason, target=target, label=label, again=again
        )
