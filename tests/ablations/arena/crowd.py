"""Simulated raters over HTTP: what a browser sends, without the browser.

Written on bare streams because two hundred of them must not cost more than the server they test.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlencode

_FIELD = re.compile(rb'name="(form|pair)" value="([^"]*)"')
_CLIP = re.compile(rb'<video[^>]* src="(/clip/[^"]+)"')
_SECONDS = re.compile(rb'data-seconds="([0-9.]+)"')
ANSWERS = ("left", "right", "tie", "both_bad")


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Browser:
    """One kept-alive connection with one cookie."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, method: str, path: str, fields: dict[str, str] | None = None) -> Answer:
        """One request; raises ConnectionError or OSError when the server is away."""
        body = urlencode(fields).encode() if fields is not None else b""
        lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self.port}"]
        if self.cookie:
            lines.append(f"cookie: {self.cookie}")
        if path.startswith("/clip/"):
            lines.append("range: bytes=0-")
        if fields is not None:
            lines.append("content-type: application/x-www-form-urlencoded")
            lines.append(f"content-length: {len(body)}")
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self._streams
            writer.write("\r\n".join((*lines, "", "")).encode() + body)
            await writer.drain()
            return await self._read(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            self.close()
            raise ConnectionError(str(error)) from error

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            if name:
                headers[name.lower()] = value
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(first.split()[1]), headers, body)

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Record:
    """What a crowd saw."""

    acknowledged: list[str] = field(default_factory=list)
    """Seals of votes that the server said it had stored."""
    settled: list[str] = field(default_factory=list)
    """Seals of votes sent again after a break and found to be stored."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from sending a vote to its answer."""
    page_latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    breaks: int = 0
    """Connections that broke."""
    finished: int = 0


async def rate(
    port: int, think: tuple[float, float], record: Record, dice: random.Random, stop: asyncio.Event
) -> None:
    """One rater from the first page to the thanks page (or until `stop`)."""
    browser = Browser(port)

    async def send(method: str, path: str, fields: dict[str, str] | None = None) -> Answer:
        while True:
            try:
                return await browser.send(method, path, fields)
            except ConnectionError:
                record.breaks += 1
                if stop.is_set():
                    raise
                await asyncio.sleep(0.1 + dice.random() * 0.2)

    try:
        page = await send("GET", "/")
        await asyncio.sleep(dice.uniform(*think))
        begun = await send("POST", "/begin", dict(_fields(page)))
        assert begun.status == 303, begun.status
        while not stop.is_set():
            start = time.perf_counter()
            page = await send("GET", "/rate")
            record.page_latencies.append(time.perf_counter() - start)
            if page.status == 303:
                record.finished += 1
                return
            clips = _CLIP.findall(page.body)
            if not clips:  # the waiting page
                await asyncio.sleep(1)
                continue
            shown = time.perf_counter()
            for clip in clips:
                answer = await send("GET", clip.decode())
                assert answer.status == 206, answer.status
            match = _SECONDS.search(page.body)
            assert match is not None
            rest = float(match[1]) + 0.02 - (time.perf_counter() - shown)
            await asyncio.sleep(max(rest, dice.uniform(*think)))
            await _vote(send, page, record, dice)
            await asyncio.sleep(dice.uniform(*think))
    except ConnectionError:
        return
    finally:
        browser.close()


async def _vote(send, page: Answer, record: Record, dice: random.Random) -> None:  # type: ignore[no-untyped-def]
    fields = _fields(page)
    seal = fields["pair"]
    fields |= {"answer": dice.choice(ANSWERS), "watched_left": "1.0", "watched_right": "1.0"}
    broken = record.breaks
    start = time.perf_counter()
    answer = await send("POST", "/vote", fields)
    record.statuses[answer.status] += 1
    if answer.status == 303:
        record.acknowledged.append(seal)
        if record.breaks == broken:
            record.latencies.append(time.perf_counter() - start)
    elif answer.status == 409:
        record.settled.append(seal)


def _fields(page: Answer) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in _FIELD.findall(page.body)}


async def gather(
    port: int,
    raters: int,
    *,
    think: tuple[float, float] = (0.5, 2.0),
    seed: int = 0,
    spread: float = 2.0,
    stop: asyncio.Event | None = None,
    record: Record | None = None,
) -> Record:
    """`raters` at once; they arrive within `spread` seconds. `record` can be read meanwhile."""
    record = record or Record()
    stop = stop or asyncio.Event()

    async def come(number: int) -> None:
        dice = random.Random(f"{seed}:{number}")
        await asyncio.sleep(dice.random() * spread)
        await rate(port, think, record, dice, stop)

    await asyncio.gather(*(come(number) for number in range(raters)))
    return record
