"""The admin page: how far the study is, who takes part, invitations, the votes as files.

It names variants, so it shows nothing before the token of STUDY/.arena/admin-token was given.
"""

from __future__ import annotations

import asyncio
import hmac
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import select

from ablations.arena import exchange, schema
from ablations.arena.guard import Buckets
from ablations.arena.seals import fresh
from ablations.arena.seats import Refused

if TYPE_CHECKING:
    from ablations.arena.app import Front

ADMIN_HOURS = 12
MAX_INVITATIONS = 500


def add(app: FastAPI, front: Front, token: str) -> None:
    """Add the admin routes."""
    desk, seals, settings = front.desk, front.seals, front.settings
    guesses = Buckets(rate=1 / 6, burst=10)

    def check(request: Request) -> str:
        """The admin's cookie, which also marks the forms."""
        front.slow(front.page_buckets, "admin")
        cookie = request.cookies.get("admin")
        if cookie is None or not seals.is_admin(cookie, token):
            raise Refused(403, "This page is for whoever runs the study.")
        return cookie

    @app.get("/admin")
    async def overview(request: Request) -> Response:
        cookie = request.cookies.get("admin")
        if cookie is None or not seals.is_admin(cookie, token):
            visitor = front.visitor(request) or fresh()
            response = front.page("login.html", wrong=False, form=seals.form(visitor))
            front.remember(response, visitor)
            return response
        check(request)
        votes, raters, invitations = await asyncio.to_thread(_read, front)
        base = settings.public_url or str(request.base_url)
        return front.page(
            "admin.html",
            form=seals.form(cookie),
            question=settings.question_words,
            counts={kind: desk.votes[kind] for kind in schema.KINDS},
            awaited=desk.awaited(),
            target=settings.votes_per_variant,
            variants=_variants(desk.gallery.variants, votes),
            raters=_raters(front, raters, votes, {i.invitation: i.label for i in invitations}),
            invitations=[
                {
                    "label": row.label,
                    "link": f"{base.rstrip('/')}/join/{seals.invitation(row.invitation)}",
                }
                for row in invitations
            ],
            left_out=desk.gallery.left_out,
        )

    @app.post("/admin/login")
    async def login(request: Request) -> Response:
        visitor = front.visitor(request)
        if visitor is None:
            raise Refused(403, "Your browser did not keep this page's cookie. Please allow it.")
        fields = await front.form(request, visitor)
        front.slow(guesses, front.address(request))
        if not hmac.compare_digest(fields.get("token", "").strip().encode(), token.encode()):
            return front.page("login.html", 403, wrong=True, form=seals.form(visitor))
        response = RedirectResponse("/admin", 303)
        response.set_cookie(
            "admin",
            seals.admin(token),
            max_age=ADMIN_HOURS * 3600,
            httponly=True,
            samesite="strict",
            secure=settings.secure,
            path="/admin",
        )
        return response

    @app.post("/admin/logout")
    async def logout(request: Request) -> Response:
        await front.form(request, check(request))
        response = RedirectResponse("/admin", 303)
        response.delete_cookie("admin", path="/admin")
        return response

    @app.post("/admin/invite")
    async def invite(request: Request) -> Response:
        fields = await front.form(request, check(request))
        labels = [line for line in fields.get("labels", "").splitlines() if line.strip()]
        if not 1 <= len(labels) <= MAX_INVITATIONS:
            raise Refused(400, f"Please give 1 to {MAX_INVITATIONS} lines.")
        await desk.invite(labels)
        return RedirectResponse("/admin#invitations", 303)

    @app.get("/admin/votes.csv")
    async def votes_csv(request: Request) -> Response:
        check(request)
        return await _file("votes.csv", "text/csv; charset=utf-8", exchange.to_csv)

    @app.get("/admin/votes.jsonl")
    async def votes_jsonl(request: Request) -> Response:
        check(request)
        return await _file("votes.jsonl", "application/jsonl", exchange.to_jsonl)

    @app.get("/admin/battles.jsonl")
    async def battles(request: Request) -> Response:
        check(request)
        return await _file("battles.jsonl", "application/jsonl", exchange.to_fastchat)

    async def _file(name: str, kind: str, write: exchange.Writer) -> Response:
        text = await asyncio.to_thread(lambda: write(exchange.stored(desk.store)))
        headers = {
            "cache-control": "no-store",
            "content-disposition": f'attachment; filename="{name}"',
        }
        return Response(text.encode(), 200, headers, media_type=kind)


def _read(front: Front) -> tuple[list[Any], list[Any], list[Any]]:
    store = front.desk.store
    question = schema.votes.c.question == front.settings.question
    return (
        store.read(select(schema.votes).where(question).order_by(schema.votes.c.number)),
        store.read(select(schema.raters).order_by(schema.raters.c.joined_at)),
        store.read(select(schema.invitations).order_by(schema.invitations.c.made_at)),
    )


def _variants(names: Iterable[str], votes: list[Any]) -> list[dict[str, Any]]:
    total: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for vote in votes:
        if vote.kind == "normal":
            total.update((vote.left, vote.right))
            left[vote.left] += 1
    return [
        {
            "name": name,
            "votes": total[name],
            "left": f"{100 * left[name] / total[name]:.0f} %" if total[name] else "–",
        }
        for name in names
    ]


def _raters(
    front: Front, raters: list[Any], votes: list[Any], labels: dict[str, str]
) -> list[dict[str, Any]]:
    by_rater: dict[str, list[Any]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    rows = []
    for rater in raters:
        own = by_rater[rater.rater]
        controls = [vote for vote in own if vote.kind == "control"]
        seconds = [vote.seconds for vote in own if vote.seconds is not None]
        rows.append(
            {
                "rater": rater.rater,
                "label": labels.get(rater.invitation or "", ""),
                "answers": len(own),
                "controls": len(controls),
                "passed": sum(passed(vote.answer, vote.control_side) for vote in controls),
                "seconds": f"{statistics.median(seconds):.1f}" if seconds else "–",
                "code": front.code(rater.rater) or "",
            }
        )
    return rows


def passed(answer: str, control_side: str) -> bool:
    """Whether a control was seen through: the side that is not damaged was preferred."""
    return answer == {"left": "right", "right": "left"}[control_side]
