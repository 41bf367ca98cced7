"""What raters may hold: signed names that cannot be forged, guessed or passed on.

One random secret per study signs everything; it lies in the study, readable by its owner only. A
pair's seal says which pair, to whom and since when: the vote that brings it back is believed about
nothing else. Losing the secret logs every rater out and loses no vote.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer

REMEMBERED = 4096
"""Cookies whose signature is known to be good (or bad)."""
TOKEN_BYTES = 16
"""128 random bits: nobody guesses one."""


def kept(path: Path) -> str:
    """The random text in a file that only its owner may read; made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = path.read_text().strip()
        if text:
            return text
        path.unlink()  # an earlier start was killed before it had written
        return kept(path)
    text = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return text


def fresh() -> str:
    """A new opaque name."""
    return secrets.token_urlsafe(TOKEN_BYTES)


@dataclass(frozen=True)
class Shown:
    """What a pair's seal says: this pair, to this rater, on the screen since then."""

    assignment: str
    rater: str
    shown_at: float
    """Unix time."""


class Seals:
    """Signs and checks with one secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self._visit = URLSafeSerializer(secret, salt="visit")
        self._pair = URLSafeSerializer(secret, salt="pair")
        self._invitation = URLSafeSerializer(secret, salt="invitation")
        self._admin = URLSafeSerializer(secret, salt="admin")
        # Every request brings its cookie; most bring one that was checked a moment ago.
        self.read_visit = lru_cache(REMEMBERED)(self._read_visit)

    def visit(self, rater: str) -> str:
        """The cookie of a rater."""
        return _text(self._visit.dumps(rater))

    def _read_visit(self, cookie: str | None) -> str | None:
        """Whose cookie it is; None for none or a forged one."""
        return _read(self._visit, cookie)

    def invitation(self, name: str) -> str:
        """The part of an invitation link that cannot be made up."""
        return _text(self._invitation.dumps(name))

    def read_invitation(self, text: str) -> str | None:
        """Which invitation it is; None for a forged one."""
        return _read(self._invitation, text)

    def admin(self, token: str) -> str:
        """The cookie of whoever showed the admin token; a new token ends it."""
        return _text(self._admin.dumps(self.digest("admin", token)))

    def is_admin(self, cookie: str | None, token: str) -> bool:
        """Whether a cookie was given for this admin token."""
        found = _read(self._admin, cookie)
        return found is not None and hmac.compare_digest(found, self.digest("admin", token))

    def pair(self, shown: Shown) -> str:
        """The seal of a pair on the screen."""
        milliseconds = round(shown.shown_at * 1000)
        return _text(self._pair.dumps([shown.assignment, shown.rater, milliseconds]))

    def read_pair(self, text: str) -> Shown | None:
        """What a seal says; None for a forged one."""
        try:
            assignment, rater, milliseconds = self._pair.loads(text)
            return Shown(str(assignment), str(rater), float(milliseconds) / 1000)
        except (BadSignature, ValueError, TypeError):
            return None

    def form(self, visitor: str) -> str:
        """What a visitor's forms carry, so that other sites cannot send them (CSRF)."""
        return self.digest("form", visitor)

    def is_form(self, text: str, visitor: str) -> bool:
        """Whether a form is this visitor's."""
        return hmac.compare_digest(text.encode(), self.form(visitor).encode())

    def completion(self, rater: str) -> str:
        """A code that says a rater finished, short enough to be typed: ABCDE-FGHIJ."""
        digest = hmac.new(self._secret, f"done:{rater}".encode(), hashlib.sha256).digest()
        letters = base64.b32encode(digest).decode()[:10]
        return f"{letters[:5]}-{letters[5:]}"

    def digest(self, use: str, text: str) -> str:
        """An opaque name for `text` that only this secret gives."""
        return hmac.new(self._secret, f"{use}:{text}".encode(), hashlib.sha256).hexdigest()[:32]


def _text(signed: str | bytes) -> str:
    return signed if isinstance(signed, str) else signed.decode()


def _read(serializer: URLSafeSerializer, text: str | None) -> str | None:
    if not text:
        return None
    try:
        value = serializer.loads(text)
    except (BadSignature, ValueError):
        return None
    return value if isinstance(value, str) else None
