"""What can be chosen about an arena: `conf/arena/default.yaml`, checked before anything is served.

A wrong key or value stops with one line that names the key and what would be accepted, because a
rater must never be the one to find a typing mistake in a configuration.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import UserError

QUESTIONS: dict[str, str] = {
    "overall": "Which video do you prefer?",
    "motion": "In which video is the motion more natural?",
    "prompt": "Which video follows the description more faithfully?",
    "identity": "In which video do people and things keep looking like themselves?",
    "drift": "Which video keeps its quality better from start to end?",
}
"""Questions by key. Each is asked on a screen of its own: two on one screen collapse into one."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Sizing(BaseModel):
    """What `stage=arena plan=true` assumes when it counts the votes needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: float = Field(default=50.0, gt=0, le=1000)
    """The gap to be told apart, in Elo points (50 is a win rate of 57 %)."""
    power: float = Field(default=0.8, gt=0.5, lt=1)
    """Chance of finding a gap of that size."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the intervals; all comparisons together when `familywise`."""
    familywise: bool = True
    """Correct for comparing all variants with each other (Bonferroni)."""
    tie_rate: float = Field(default=0.2, ge=0, lt=1)
    """Share of ties expected; a tie says less than a choice."""
    rater_correlation: float = Field(default=0.02, ge=0, lt=1)
    """Correlation of two votes of one rater; more of it asks for more raters."""


class Settings(BaseModel):
    """One arena. Units are in the names; the defaults are the paper's study, on loopback."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Anything but loopback is reachable by others: prefer invitations."""
    port: int = Field(default=8008, ge=0, le=65535)
    """0 takes a free port."""
    public_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """What raters type, behind a proxy. https:// here makes the cookies Secure."""
    trust_proxy: bool | str = False
    """Take the rater's address from X-Forwarded-For, if a proxy on this machine sent it (true) or
    one of these addresses or networks, with commas between them."""
    access: Literal["open", "invitation"] = "open"
    """`open`: whoever has the address; `invitation`: only links made on the admin page."""

    database: str | None = None
    """SQLAlchemy URL; null is STUDY/votes.sqlite."""

    question: str = Field(default="overall", min_length=1, max_length=40, pattern=r"^[a-z0-9_-]+$")
    """Key of the question asked; stored with each vote."""
    question_text: str | None = Field(default=None, min_length=1, max_length=200)
    """Its words, for a key of your own."""
    title: str = Field(default="Which video is better?", min_length=1, max_length=80)
    """Heading of the first page."""
    introduction: str | None = Field(default=None, max_length=2000)
    """A paragraph of your own on the first page."""

    votes_per_variant: int = Field(default=100, ge=1, le=1_000_000)
    """Assessments that every variant reaches; then no more pairs are given out."""
    pairs_per_rater: int = Field(default=30, ge=1, le=1000)
    """Screens for one rater, controls and repeats included."""
    controls_per_rater: int = Field(default=2, ge=0, le=100)
    """Screens that show a video against a damaged copy of itself."""
    repeats_per_rater: int = Field(default=2, ge=0, le=100)
    """Screens that show an earlier pair of this rater again, sides swapped."""
    control_videos: int = Field(default=6, ge=0, le=1000)
    """How many videos get a damaged copy."""
    expire_minutes: float = Field(default=15.0, gt=0, le=24 * 60)
    """A pair that nobody answered for so long goes to somebody else."""
    seed: int = 0
    """Of the ties that assignment breaks by chance."""

    completion_code: str | None = Field(default=None, min_length=1, max_length=64)
    """Shown on the last page; null makes a code of its own for each rater."""
    completion_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """A link on the last page, as survey platforms want it; `{code}` in it is filled in."""

    page_rate: float = Field(default=5.0, gt=0)
    """Requests a second that one rater may go on making (bursts of 60 are free)."""
    joins_per_minute: float = Field(default=240.0, gt=0)
    """New raters from one address; a lecture hall is one address."""
    max_body_kib: int = Field(default=64, ge=4, le=4096)
    """Larger forms are refused before they are read. (The admin's votes come as files instead.)"""

    export: str | None = None
    """Write the votes to this .csv or .jsonl and stop."""
    import_: str | None = Field(default=None, alias="import")
    """Read votes from this .csv or .jsonl and stop."""
    format: Literal["bench", "fastchat"] = "bench"
    """Of the exported or imported file."""
    kinds: Literal["normal", "all"] = "all"
    """Which votes to export: all, or no controls and repeats. FastChat's files never have these."""

    sizing: Sizing = Sizing()
    """Assumptions of `plan=true`."""

    @field_validator("trust_proxy")
    @classmethod
    def _addresses(cls, value: bool | str) -> bool | str:
        for one in value.split(",") if isinstance(value, str) else ():
            try:
                ip_network(one.strip(), strict=False)
            except ValueError:
                raise ValueError(
                    f"{one.strip()!r} is no address; true, false or addresses of proxies, "
                    "as 10.0.0.2,10.1.0.0/16"
                ) from None
        return value

    @model_validator(mode="after")
    def _checked(self) -> Settings:
        if self.question not in QUESTIONS and self.question_text is None:
            known = ", ".join(QUESTIONS)
            raise ValueError(
                f"question={self.question!r} is not one of {known}; "
                "set question_text to ask your own"
            )
        extras = self.controls_per_rater + self.repeats_per_rater
        if 2 * extras > self.pairs_per_rater:
            raise ValueError(
                f"controls_per_rater + repeats_per_rater = {extras} may be at most half of "
                f"pairs_per_rater = {self.pairs_per_rater}"
            )
        return self

    @property
    def question_words(self) -> str:
        """The question as raters read it."""
        return self.question_text or QUESTIONS[self.question]

    @property
    def proxies(self) -> str | None:
        """Whose word about a rater's address is taken; anybody else could claim any address."""
        if isinstance(self.trust_proxy, str):
            return self.trust_proxy
        return "127.0.0.1,::1" if self.trust_proxy else None

    @property
    def secure(self) -> bool:
        """Whether raters come by https, so that cookies may insist on it."""
        return bool(self.public_url and self.public_url.startswith("https://"))


def read(values: Mapping[str, Any] | None) -> Settings:
    """Check the `arena` group.

    Raises:
        UserError: one line naming the key and what would be accepted.
    """
    try:
        return Settings.model_validate(dict(values or {}))
    except ValidationError as error:
        raise UserError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(("arena", *(str(part) for part in first["loc"])))
    if first["type"] == "extra_forbidden":
        model = Sizing if len(first["loc"]) > 1 else Settings
        names = [field.alias or name for name, field in model.model_fields.items()]
        close = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
        hint = f"did you mean {close[0]}?" if close else "known keys: " + ", ".join(names)
        return f"{key} is not a key of the arena; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if first["loc"] else f"arena: {message}"
