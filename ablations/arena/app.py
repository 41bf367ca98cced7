"""The arena over HTTP: routes, cookies, forms. What they decide is decided at the desk.

Cookies: `visit` names a rater and nothing else; `admin` says that somebody showed the token. Every
form carries a mark that only its visitor's cookie fits (CSRF), and the browser's own word about
where a form comes from (Origin, Sec-Fetch-Site) is heard too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from ablations.arena import pages as paper
from ablations.arena.desk import Desk
from ablations.arena.guard import Buckets, Guard, TooLarge
from ablations.arena.pages import Pages
from ablations.arena.seals import fresh
from ablations.arena.seats import Finished, Refused, Screen, Waiting
from ablations.arena.settings import LOOPBACK, Settings
from ablations.arena.store import StorageError
from ablations.arena.streaming import FileResponse

log = logging.getLogger("framepack_bench.arena")

VISIT_DAYS = 180
BURST = 60
FILE_FACTOR = 8
"""A page comes with two videos, an image, the next pair's, and players ask in several ranges."""
SECONDS_PER_PAIR = 25
"""For the first page's "about N minutes"."""
FORM_FIELDS = 16

NOT_STORED = (
    "Your answer could not be stored just now, and nothing was lost: please send it again in a "
    "moment. If this goes on, tell whoever invited you that the server's disk or database does "
    "not take votes."
)


class Front:
    """What the routes share: desk, pages, cookies, limits."""

    def __init__(self, desk: Desk, settings: Settings) -> None:
        self.desk = desk
        self.settings = settings
        self.seals = desk.seals
        self.pages = Pages(settings.title)
        self.page_buckets = Buckets(settings.page_rate, BURST)
        self.file_buckets = Buckets(settings.page_rate * FILE_FACTOR, BURST * FILE_FACTOR)
        self.visit_buckets = Buckets(settings.joins_per_minute / 30, 2 * settings.joins_per_minute)
        self.join_buckets = Buckets(settings.joins_per_minute / 60, settings.joins_per_minute)

    # Who is there

    def visitor(self, request: Request) -> str | None:
        """The rater whose cookie came along, seated or not."""
        return self.seals.read_visit(request.cookies.get("visit"))

    def rater(self, request: Request) -> str:
        """The seated rater; slows down one who asks too often."""
        rater = self.visitor(request)
        if rater is None or rater not in self.desk.seats:
            raise Refused(403, "You have not started yet, or the study was set up anew.")
        self.slow(self.page_buckets, rater)
        return rater

    def address(self, request: Request) -> str:
        """Where a request comes from."""
        return request.client.host if request.client else "unknown"

    def slow(self, buckets: Buckets, client: str) -> None:
        """Refuse who asks too often."""
        if wait := buckets.take(client):
            raise Refused(429, f"Please wait {max(1, round(wait))} s and try again.")

    def code(self, rater: str) -> str | None:
        """The completion code of a rater who has finished."""
        if not self.desk.finished(rater):
            return None
        return self.settings.completion_code or self.seals.completion(rater)

    def remember(self, response: Response, rater: str) -> None:
        """Give the browser its place."""
        response.set_cookie(
            "visit",
            self.seals.visit(rater),
            max_age=VISIT_DAYS * 86400,
            httponly=True,
            samesite="lax",
            secure=self.settings.secure,
        )

    # Forms

    async def form(self, request: Request, visitor: str) -> dict[str, str]:
        """A form's fields, once it is sure that the visitor's own page sent it."""
        fields = await read_form(request)
        own = request.headers.get("host", "")
        origin = request.headers.get("origin")
        foreign = origin is not None and origin != "null" and urlsplit(origin).netloc != own
        if self.settings.public_url and origin is not None:
            foreign = foreign and origin != _origin(self.settings.public_url)
        if foreign or request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refused(403, "This form was sent from another site.")
        if not self.seals.is_form(fields.pop("form", ""), visitor):
            raise Refused(403, "This form is out of date. Please go on from here.")
        return fields

    def page(self, template: str, status: int = 200, **values: object) -> Response:
        """A page that no cache keeps."""
        return html(self.pages.render(template, **values), status)


def html(body: bytes, status: int = 200) -> Response:
    """An answer of HTML that no cache keeps."""
    headers = {"cache-control": "no-store"}
    return Response(body, status, headers, media_type="text/html; charset=utf-8")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of an ordinary form, each at most once."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(400, "This is not a form of these pages.")
    body = await request.body()
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=FORM_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        raise Refused(400, "This is not a form of these pages.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs) or any("\0" in value for value in fields.values()):
        raise Refused(400, "This is not a form of these pages.")
    return fields


def create_app(desk: Desk, admin_token: str) -> FastAPI:
    """The application that serves one desk.

    Args:
        desk: pairs, votes and the study behind them.
        admin_token: what opens the admin page.
    """
    from ablations.arena import admin

    settings = desk.settings
    front = Front(desk, settings)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    _rating(app, front)
    _files(app, front)
    admin.add(app, front, admin_token)
    _errors(app, front)
    app.add_middleware(
        Guard,
        max_body=settings.max_body_kib * 1024,
        hosts=_hosts(settings),
        secure=settings.secure,
        refuse=lambda status, reason: front.pages.refusal(status, reason, target=None),
    )
    return app


def _rating(app: FastAPI, front: Front) -> None:
    desk, settings, seals = front.desk, front.settings, front.seals

    @app.get("/")
    async def welcome(request: Request) -> Response:
        front.slow(front.visit_buckets, front.address(request))
        visitor = front.visitor(request)
        seated = visitor is not None and visitor in desk.seats
        rater = visitor or fresh()
        response = front.page(
            "welcome.html",
            closed=settings.access == "invitation" and not seated,
            seated=seated,
            question=settings.question_words,
            introduction=settings.introduction,
            total=(total := desk.total(rater)),
            minutes=max(1, round(total * SECONDS_PER_PAIR / 60)),
            form=seals.form(rater),
        )
        if visitor is None:
            front.remember(response, rater)
        return response

    @app.post("/begin")
    async def begin(request: Request) -> Response:
        rater = front.visitor(request)
        if rater is None:
            raise Refused(403, "Your browser did not keep this page's cookie. Please allow it.")
        await front.form(request, rater)
        if rater not in desk.seats:
            if settings.access == "invitation":
                raise Refused(403, "This study is by invitation. Please open your link.")
            front.slow(front.join_buckets, front.address(request))
            await desk.join(rater)
        return _go("/rate")

    @app.get("/join/{text}")
    async def join(request: Request, text: str) -> Response:
        front.slow(front.join_buckets, front.address(request))
        invitation = seals.read_invitation(text)
        if invitation is None:
            raise Refused(403, "This invitation is not valid.")
        response = _go("/")
        front.remember(response, await desk.accept(invitation))
        return response

    @app.get("/rate")
    async def rate(request: Request) -> Response:
        rater = front.visitor(request)
        if rater is None or rater not in desk.seats:
            return _go("/")
        front.slow(front.page_buckets, rater)
        screen = await desk.screen(rater)
        if isinstance(screen, Finished):
            return _go("/thanks")
        if isinstance(screen, Waiting):
            return front.page("waiting.html")
        return html(front.pages.render("pair.html", **_shown(front, screen, rater)))

    @app.post("/vote")
    async def vote(request: Request) -> Response:
        rater = front.rater(request)
        fields = await front.form(request, rater)
        watched = (_seconds(fields.get("watched_left")), _seconds(fields.get("watched_right")))
        try:
            await desk.vote(rater, fields.get("pair", ""), fields.get("answer", ""), watched)
        except StorageError as error:
            log.error("a vote could not be stored: %s", error)
            keep = ("pair", "answer", "watched_left", "watched_right")
            again = {name: fields[name] for name in keep if name in fields}
            again["form"] = seals.form(rater)
            return html(front.pages.refusal(503, NOT_STORED, again=again), 503)
        return _go("/rate")

    @app.get("/thanks")
    async def thanks(request: Request) -> Response:
        rater = front.visitor(request)
        if rater is None or rater not in desk.seats:
            return _go("/")
        front.slow(front.page_buckets, rater)
        await desk.screen(rater)  # there may be more to ask by now
        code = front.code(rater)
        link = settings.completion_url
        return front.page(
            "thanks.html",
            answered=desk.seats[rater].answered,
            total=desk.total(rater),
            code=code,
            link=link.replace("{code}", code) if link and code else link,
        )


def _shown(front: Front, screen: Screen, rater: str) -> dict[str, object]:
    name = screen.assignment.name
    preload = []
    if screen.upcoming is not None:
        base = screen.upcoming.name
        preload = [f"/clip/{base}/a", f"/clip/{base}/b"]
        if front.desk.gallery.scenes[screen.upcoming.pair.scene].image is not None:
            preload.append(f"/image/{base}")
    return {
        "number": screen.number,
        "total": screen.total,
        "seconds": f"{screen.seconds:.3f}",
        "question": front.settings.question_words,
        "text": screen.scene.text,
        "image": f"/image/{name}" if screen.scene.image is not None else None,
        "sides": [
            ("left", "Left", "Top", f"/clip/{name}/a"),
            ("right", "Right", "Bottom", f"/clip/{name}/b"),
        ],
        "preload": preload,
        "seal": screen.seal,
        "form": front.seals.form(rater),
    }


def _files(app: FastAPI, front: Front) -> None:
    desk = front.desk

    def fetch(request: Request, name: str) -> int:
        """The scene of a pair that the rater holds, once the rate allows."""
        rater = front.visitor(request)
        if rater is None:
            raise Refused(404, "There is no such file.")
        front.slow(front.file_buckets, rater)
        return desk.held(rater, name).scene

    @app.api_route("/clip/{name}/{side}", methods=["GET", "HEAD"])
    async def clip(request: Request, name: str, side: str) -> Response:
        fetch(request, name)
        pair = desk.assignments[name].pair
        if side not in ("a", "b"):
            raise Refused(404, "There is no such file.")
        path = desk.clips(pair)[0 if side == "a" else 1].path
        return FileResponse(path, "video/mp4", request.headers.get("range"))

    @app.api_route("/image/{name}", methods=["GET", "HEAD"])
    async def image(request: Request, name: str) -> Response:
        path = desk.gallery.scenes[fetch(request, name)].image
        if path is None:
            raise Refused(404, "There is no such file.")
        return FileResponse(path, "image/png", request.headers.get("range"))

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        try:
            body = paper.static(name)
        except KeyError:
            raise Refused(404, "There is no such file.") from None
        headers = {"cache-control": "public, max-age=86400"}
        return Response(body, 200, headers, media_type=paper.STATIC[name])


def _errors(app: FastAPI, front: Front) -> None:
    pages = front.pages

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        response = html(pages.refusal(error.status, error.reason), error.status)
        if error.status == 429:
            response.headers["retry-after"] = "1"
        return response

    async def missing(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return html(pages.refusal(error.status_code, "There is no such page."), error.status_code)

    async def large(_request: Request, _error: Exception) -> Response:
        return html(pages.refusal(413, "This form is larger than any vote."), 413)

    async def storage(_request: Request, error: Exception) -> Response:
        log.error("the database did not answer: %s", error)
        return html(pages.refusal(503, NOT_STORED, label="Try again"), 503)

    async def gone(_request: Request, error: Exception) -> Response:
        log.error("a prepared file is missing: %s", error)
        return html(pages.refusal(404, "There is no such file."), 404)

    async def broken(_request: Request, _error: Exception) -> Response:
        reason = "This is our mistake, not yours, and your answers are safe."
        return html(pages.refusal(500, reason, label="Try again"), 500)

    handlers: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        Refused: refused,
        HTTPException: missing,
        TooLarge: large,
        StorageError: storage,
        FileNotFoundError: gone,
        Exception: broken,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _hosts(settings: Settings) -> list[str] | None:
    if settings.host not in LOOPBACK:
        return None
    names = [*LOOPBACK]
    if settings.public_url:
        names.append(urlsplit(settings.public_url).hostname or "")
    return names


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _go(path: str) -> Response:
    return RedirectResponse(path, 303, {"cache-control": "no-store"})


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
