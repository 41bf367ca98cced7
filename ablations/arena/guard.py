"""What stands before every page: limits on size and rate, and headers that keep browsers strict.

Plain ASGI, because each of these is a decision about a request's first bytes: a form of ten
megabytes is refused on its Content-Length, before anything of it is read.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere, nothing inline, in nobody's frame."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: with it, browsers send "Origin: null" along with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), browsing-topics=()",
    "x-robots-tag": "noindex",
}
REMEMBERED = 20_000
"""Clients whose rate is known; beyond it the one longest unseen is forgotten."""


class Buckets:
    """Token buckets: `rate` a second in the long run, `burst` at once.

    Args:
        rate: tokens a second that come back.
        burst: tokens of a client not seen before.
        now: a counter of seconds (replaced in tests).
    """

    def __init__(
        self, rate: float, burst: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._now = now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one token; 0 when there was one, else seconds until there is."""
        now = self._now()
        left, since = self._left.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        wait = 0.0 if left >= 1 else (1 - left) / self.rate
        self._left[client] = (left - 1 if wait == 0 else left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)
        return wait


class TooLarge(Exception):
    """A body grew beyond the limit while it was read."""


class Guard:
    """The outermost layer of the application.

    Args:
        app: what is guarded.
        max_body: bytes that a request may carry.
        hosts: host names that are answered, None for all. On loopback this stops a web page that
            points its own name at 127.0.0.1 (DNS rebinding).
        secure: raters come by https.
        refuse: makes the page of a refusal from status and reason.
    """

    def __init__(
        self,
        app: App,
        *,
        max_body: int,
        hosts: Iterable[str] | None,
        secure: bool,
        refuse: Callable[[int, str], bytes],
    ) -> None:
        self.app = app
        self.max_body = max_body
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.refuse = refuse
        headers = dict(HEADERS)
        if secure:
            headers["strict-transport-security"] = "max-age=31536000"
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it on its headers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = _host(headers.get(b"host", b"").decode("latin-1"))
        if self.hosts is not None and host not in self.hosts:
            await self._answer(send, 421, "This address is not served here.")
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.max_body:
            await self._answer(send, 413, "This form is larger than any vote.")
            return
        read = 0
        started = False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.max_body:
                raise TooLarge
            return message

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *self.headers]
            await send(message)

        try:
            await self.app(scope, counted, guarded)
        except TooLarge:
            if not started:
                await self._answer(send, 413, "This form is larger than any vote.")

    async def _answer(self, send: Send, status: int, reason: str) -> None:
        body = self.refuse(status, reason)
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _host(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
