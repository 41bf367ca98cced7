"""Sends a file whole or in the ranges that players ask for, with headers that all files share.

Starlette's own file response would add an ETag and a Last-Modified, and both say something about
the file: two clips of one pair must differ in their pictures and their length only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
from starlette.responses import Response

from ablations.arena.guard import Receive, Scope, Send

CHUNK = 512 * 1024
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """The first and one past the last byte that a Range header asks for.

    None means the whole file: no header, or one that we need not follow (several ranges).

    Raises:
        ValueError: the range lies outside the file.
    """
    match = _RANGE.match(header.strip()) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    if start >= stop:
        raise ValueError("outside the file")
    return start, stop


class _Opened(NamedTuple):
    """An open file, the bytes asked for, and the first of them."""

    file: int
    size: int
    start: int
    stop: int
    partial: bool
    first: bytes


class FileResponse(Response):
    """One file as an ASGI answer.

    Args:
        path: the file.
        media_type: its Content-Type.
        range_header: the request's Range.
    """

    def __init__(self, path: Path, media_type: str, range_header: str | None = None) -> None:
        super().__init__(media_type=media_type)
        self.kind = media_type
        self.path = path
        self.range_header = range_header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            opened = await anyio.to_thread.run_sync(self._open)
        except ValueError as error:
            await send(_start(416, self._fields(0, {"content-range": f"bytes */{error}"})))
            await send({"type": "http.response.body"})
            return
        try:
            await self._send(opened, scope["method"] == "HEAD", send)
        finally:
            os.close(opened.file)

    def _open(self) -> _Opened:
        """Open the file and read what is sent first, in one go: threads are not free."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            try:
                asked = span(self.range_header, size)
            except ValueError:
                raise ValueError(size) from None
            start, stop = asked or (0, size)
            first = os.pread(file, min(CHUNK, stop - start), start)
        except BaseException:
            os.close(file)
            raise
        return _Opened(file, size, start, stop, asked is not None, first)

    async def _send(self, opened: _Opened, head_only: bool, send: Send) -> None:
        start, stop = opened.start, opened.stop
        extra = {}
        if opened.partial:
            extra["content-range"] = f"bytes {start}-{stop - 1}/{opened.size}"
        length = stop - start
        await send(_start(206 if opened.partial else 200, self._fields(length, extra)))
        if head_only or length == 0:
            await send({"type": "http.response.body"})
            return
        chunk = opened.first
        while True:
            if not chunk:
                raise OSError(f"{self.path.name} became shorter while it was sent")
            start += len(chunk)
            more = start < stop
            await send({"type": "http.response.body", "body": chunk, "more_body": more})
            if not more:
                return
            want = min(CHUNK, stop - start)
            chunk = await anyio.to_thread.run_sync(os.pread, opened.file, want, start)

    def _fields(self, length: int, extra: Mapping[str, str]) -> Mapping[str, str]:
        return {
            "content-type": self.kind,
            "content-length": str(length),
            "accept-ranges": "bytes",
            # Private to the rater; a pair's address is never used for anything else.
            "cache-control": "private, max-age=86400, immutable",
            **extra,
        }


def _start(status: int, headers: Mapping[str, str]) -> dict[str, object]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
