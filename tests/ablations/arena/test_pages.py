"""Over HTTP: nothing names a variant, nothing is believed, nothing breaks."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ablations.arena.guard import Buckets
from ablations.arena.server import Arena
from ablations.arena.streaming import span
from ablations.arena.votes import load
from tests.ablations.arena import studies
from tests.ablations.arena.conftest import Hand, Open, Visitor, fields
from tests.ablations.arena.serving import Server
from tests.ports import free_port

Visit = Callable[[Arena], Visitor]
URLS = re.compile(r'(?:src|href|action|data-next-\d)="([^"]+)"')
NASTY = """'"><script>alert(1)</script> {{ 7*7 }} '; DROP TABLE votes; --"""


def test_no_page_url_header_or_file_names_a_variant(
    study: Path, open_arena: Open, visit: Visit
) -> None:
    rater = visit(open_arena(pairs_per_rater=12)).begin()
    secrets = [name.encode() for name in studies.telling(study)]
    files: list[dict[str, str]] = []
    for _ in range(12):
        page = rater.get("/rate")
        for url in [url for url in URLS.findall(page.text) if not url.startswith("/static")]:
            if url == "/vote":
                continue
            answer = rater.get(url)
            assert answer.status_code == 200
            told = url.encode() + str(answer.headers).encode() + answer.content
            assert not [name for name in secrets if name in told]
            if url.startswith("/clip"):
                files.append({k: v for k, v in answer.headers.items() if k != "content-length"})
        assert not [name for name in secrets if name in page.content + str(page.headers).encode()]
        assert rater.vote("tie").status_code == 303
    assert len(files) > 30
    assert all(headers == files[0] for headers in files), "headers tell clips apart"
    assert "etag" not in files[0]
    assert "last-modified" not in files[0]


def test_all_visitors_read_the_same_number_of_pairs_before_and_after(
    open_arena: Open, visit: Visit
) -> None:
    arena = open_arena(pairs_per_rater=60)
    told = set()
    for _ in range(6):
        visitor = visit(arena)
        welcome = visitor.get("/").text
        told |= {int(number) for number in re.findall(r"<dt>Pairs</dt><dd>(\d+)</dd>", welcome)}
        page = visitor.begin().get("/rate").text
        told |= {int(number) for number in re.findall(r"<b>1</b> of (\d+)", page)}
    assert len(told) == 1
    assert told.pop() < 60


def test_a_rater_goes_from_the_first_page_to_the_code_and_the_code_is_their_own(
    open_arena: Open, visit: Visit
) -> None:
    arena = open_arena(pairs_per_rater=6, controls_per_rater=1, repeats_per_rater=1)
    codes = set()
    for _ in range(2):
        rater = visit(arena).begin()
        assert "completion code" not in rater.get("/thanks").text
        for number in range(6):
            assert f"<b>{number + 1}</b> of 6" in rater.get("/rate").text
            assert rater.vote().headers["location"] == "/rate"
        assert rater.get("/rate").headers["location"] == "/thanks"
        match = re.search(r"<code>([A-Z2-7]{5}-[A-Z2-7]{5})</code>", rater.get("/thanks").text)
        assert match
        codes.add(match[1])
    assert len(codes) == 2


def test_a_survey_gets_its_code_back_in_a_link(open_arena: Open, visit: Visit) -> None:
    arena = open_arena(
        pairs_per_rater=1,
        controls_per_rater=0,
        repeats_per_rater=0,
        completion_code="C0DE",
        completion_url="https://example.org/done?cc={code}",
    )
    rater = visit(arena).begin()
    rater.vote()
    assert 'href="https://example.org/done?cc=C0DE"' in rater.get("/thanks").text


def test_closing_the_browser_keeps_the_place(open_arena: Open, visit: Visit, clock: Hand) -> None:
    arena = open_arena()
    rater = visit(arena).begin()
    for _ in range(3):
        rater.vote()
    page = rater.shown()
    again = visit(arena)
    again.client.cookies.update(rater.client.cookies)
    assert "Continue" in again.get("/").text
    assert again.shown() == page
    assert "<b>4</b> of 30" in again.get("/rate").text


def test_every_answer_has_the_strict_headers(open_arena: Open, visit: Visit) -> None:
    rater = visit(open_arena()).begin()
    clip = next(url for url in URLS.findall(rater.get("/rate").text) if url.startswith("/clip"))
    for path in ("/", "/rate", "/thanks", "/none", "/admin", "/static/arena.js", clip):
        headers = rater.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        page = rater.get(path).text
        if "<html" in page:
            assert "style=" not in page
            assert not re.search(r"\son[a-z]+=", page)
            assert not re.search(r"<script(?! src=)", page)
            assert headers["cache-control"] == "no-store"


def test_cookies_are_signed_and_closed_to_scripts(open_arena: Open, visit: Visit) -> None:
    plain, secure = open_arena(), None
    cookie = visit(plain).get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    secure = open_arena(public_url="https://arena.example.org")
    answer = visit(secure).get("/")
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


@pytest.mark.parametrize(
    "change",
    [
        {"form": "0" * 32},
        {"form": ""},
        {"form": NASTY},
        {"pair": NASTY},
        {"pair": "x" * 5000},
        {"pair": "é\N{SNOWMAN}"},
        {"answer": NASTY},
        {"answer": ""},
    ],
)
def test_a_tampered_field_is_refused_politely(
    study: Path, open_arena: Open, visit: Visit, clock: Hand, change: dict[str, str]
) -> None:
    rater = visit(open_arena()).begin()
    form = {**rater.shown(), "answer": "left", **change}
    clock.seconds += 5
    answer = rater.post("/vote", form)
    assert answer.status_code in (400, 403)
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text
    assert "<script>alert" not in answer.text
    assert len(load(study)) == 0


@pytest.mark.parametrize("field", ["watched_left", "watched_right"])
@pytest.mark.parametrize("value", [NASTY, "", "1e400", "nan", "-1", "٣"])
def test_nonsense_about_what_was_watched_costs_no_vote(
    study: Path, open_arena: Open, visit: Visit, clock: Hand, field: str, value: str
) -> None:
    rater = visit(open_arena()).begin()
    form = {**rater.shown(), "answer": "left", field: value}
    clock.seconds += 5
    assert rater.post("/vote", form).status_code == 303
    assert len(load(study)) == 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"answer=left&answer=right", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"answer=%00", "application/x-www-form-urlencoded"),
        (b"answer=%ff", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"", ""),
    ],
)
def test_what_is_no_form_is_refused_politely(
    open_arena: Open, visit: Visit, content: bytes, kind: str
) -> None:
    rater = visit(open_arena()).begin()
    answer = rater.client.post("/vote", content=content, headers={"content-type": kind})
    assert answer.status_code == 400
    assert "<h1>" in answer.text


@pytest.mark.parametrize(
    "headers",
    [{"origin": "https://elsewhere.example"}, {"sec-fetch-site": "cross-site"}],
)
def test_a_form_from_another_site_is_refused(
    study: Path, open_arena: Open, visit: Visit, clock: Hand, headers: dict[str, str]
) -> None:
    rater = visit(open_arena()).begin()
    form = {**rater.shown(), "answer": "left"}
    clock.seconds += 5
    assert rater.post("/vote", form, headers=headers).status_code == 403
    assert len(load(study)) == 0
    own = {"origin": "http://localhost:8008", "sec-fetch-site": "same-origin"}
    assert rater.post("/vote", form, headers=own).status_code == 303


def test_a_form_of_another_visitor_is_refused(open_arena: Open, visit: Visit, clock: Hand) -> None:
    arena = open_arena()
    rater, other = visit(arena).begin(), visit(arena).begin()
    form = {**rater.shown(), "answer": "left", "form": other.shown()["form"]}
    clock.seconds += 5
    assert rater.post("/vote", form).status_code == 403


def test_another_rater_cannot_fetch_a_pairs_files(open_arena: Open, visit: Visit) -> None:
    arena = open_arena()
    rater, other = visit(arena).begin(), visit(arena).begin()
    urls = [url for url in URLS.findall(rater.get("/rate").text) if url.startswith("/clip")]
    assert len(urls) == 4  # this pair's and the next one's
    for url in urls:
        assert rater.get(url).status_code == 200
        assert other.get(url).status_code == 404
        assert visit(arena).get(url).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/clip/../../votes.sqlite/a",
        "/clip/%2e%2e%2f%2e%2e%2fvotes.sqlite/a",
        "/clip/..%5c..%5cvotes.sqlite/a",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%00",
        "/image//etc/passwd",
        "/image/%2fetc%2fpasswd",
        "/cells/td_f16k4f2k2f1k1_g9/wanderer-1_7/video.mp4",
        "/.arena/secret",
        "/openapi.json",
        "/docs",
    ],
)
def test_no_path_leads_anywhere_else(open_arena: Open, visit: Visit, path: str) -> None:
    rater = visit(open_arena()).begin()
    answer = rater.get(path)
    assert answer.status_code == 404
    assert "<h1>" in answer.text


def test_clips_are_served_in_ranges(open_arena: Open, visit: Visit) -> None:
    rater = visit(open_arena()).begin()
    url = next(url for url in URLS.findall(rater.get("/rate").text) if url.startswith("/clip"))
    whole = rater.get(url)
    size = len(whole.content)
    assert whole.headers["accept-ranges"] == "bytes"
    part = rater.get(url, headers={"range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 100-199/{size}"
    assert part.content == whole.content[100:200]
    assert rater.get(url, headers={"range": "bytes=-50"}).content == whole.content[-50:]
    assert rater.get(url, headers={"range": f"bytes={size}-"}).status_code == 416
    assert rater.get(url, headers={"range": "lines=1-2"}).status_code == 200
    assert rater.client.head(url).headers["content-length"] == str(size)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [(None, None), ("bytes=0-", (0, 10)), ("bytes=3-5", (3, 6)), ("bytes=-4", (6, 10)),
     ("bytes=-40", (0, 10)), ("bytes=8-99", (8, 10)), ("bytes=0-1,3-4", None), ("bytes=-", None)],
)  # fmt: skip
def test_ranges_are_read_as_rfc_9110_says(
    header: str | None, wanted: tuple[int, int] | None
) -> None:
    assert span(header, 10) == wanted


def test_html_in_prompts_and_titles_is_shown_as_text(
    tmp_path: Path, open_arena: Open, visit: Visit
) -> None:
    study = studies.make(tmp_path / "nasty", variants=studies.NAMES[:2], text=NASTY)
    rater = visit(
        open_arena(study, title=NASTY[:80], introduction=NASTY, question="x", question_text=NASTY)
    )
    first = rater.get("/").text
    page = rater.begin().get("/rate").text
    for text in (first, page):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert "{{ 7*7 }}" in text


def test_too_many_requests_are_slowed(open_arena: Open, visit: Visit) -> None:
    # So slow a rate gives no token back meanwhile, however long eighty requests take.
    rater = visit(open_arena(page_rate=0.001)).begin()
    answers = [rater.get("/rate").status_code for _ in range(80)]
    assert answers[:50] == [200] * 50
    assert answers[-1] == 429
    assert "wait" in rater.get("/rate").text


def test_buckets_refill_and_forget_who_was_longest_away() -> None:
    now = [0.0]
    buckets = Buckets(rate=2, burst=3, now=lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5)
    now[0] += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("b") == 0


def test_invitations_are_needed_where_they_are_asked_for(
    study: Path, open_arena: Open, visit: Visit
) -> None:
    arena = open_arena(access="invitation")
    stranger = visit(arena)
    assert "by invitation" in stranger.get("/").text
    assert stranger.post("/begin", {"form": ""}).status_code == 403
    admin = visit(arena)
    token = (study / ".arena" / "admin-token").read_text()
    admin.post("/admin/login", {**fields(admin.get("/admin")), "token": token})
    mark = fields(admin.get("/admin"))["form"]
    admin.post("/admin/invite", {"form": mark, "labels": f"Ada\n\n{NASTY}\n"})
    page = admin.get("/admin").text
    assert "<script>alert" not in page
    links = re.findall(r"http://localhost:8008(/join/[^<]+)</code>", page)
    assert len(links) == 2
    guest = visit(arena)
    assert guest.get(links[0]).headers["location"] == "/"
    guest.begin().vote()
    elsewhere = visit(arena)
    elsewhere.get(links[0])
    assert "<b>2</b> of 30" in elsewhere.get("/rate").text
    forged = links[0][:-3] + ("xyz" if links[0].endswith("abc") else "abc")
    assert visit(arena).get(forged).status_code == 403


def test_the_admin_page_shows_nothing_without_its_token(
    study: Path, open_arena: Open, visit: Visit
) -> None:
    arena = open_arena()
    rater = visit(arena).begin()
    rater.vote()
    page = rater.get("/admin").text
    assert not [name for name in studies.telling(study) if name in page]
    for path in ("/admin/votes.csv", "/admin/votes.jsonl", "/admin/battles.jsonl"):
        assert rater.get(path).status_code == 403
    mark = fields(rater.get("/admin"))["form"]
    for wrong in ("", "guess", NASTY):
        assert rater.post("/admin/login", {"form": mark, "token": wrong}).status_code == 403
    assert rater.post("/admin/invite", {"form": mark, "labels": "x"}).status_code == 403
    rater.client.cookies.set("admin", rater.client.cookies["visit"], path="/admin")
    assert rater.get("/admin/votes.csv").status_code == 403
    for _ in range(12):
        last = rater.post("/admin/login", {"form": mark, "token": "guess"}).status_code
    assert last == 429


def test_the_admin_page_counts_and_exports(study: Path, open_arena: Open, visit: Visit) -> None:
    arena = open_arena()
    rater = visit(arena).begin()
    for _ in range(5):
        rater.vote()
    admin = visit(arena)
    token = (study / ".arena" / "admin-token").read_text()
    login = admin.post("/admin/login", {**fields(admin.get("/admin")), "token": token})
    assert "SameSite=strict" in login.headers["set-cookie"]
    page = admin.get("/admin").text
    assert all(path.name in page for path in (study / "cells").iterdir())
    assert len(admin.get("/admin/votes.csv").text.splitlines()) == 6
    assert len(admin.get("/admin/votes.jsonl").text.splitlines()) == 5
    assert admin.get("/admin/battles.jsonl").status_code == 200
    admin.post("/admin/logout", {"form": fields(admin.get("/admin"))["form"]})
    assert admin.get("/admin/votes.csv").status_code == 403


def test_who_ran_out_of_pairs_has_the_same_code_on_both_pages(
    study: Path, open_arena: Open, visit: Visit
) -> None:
    arena = open_arena(pairs_per_rater=1000, controls_per_rater=0, repeats_per_rater=0)
    rater, admin = visit(arena).begin(), visit(arena)
    token = (study / ".arena" / "admin-token").read_text()
    admin.post("/admin/login", {**fields(admin.get("/admin")), "token": token})
    (name,) = arena.desk.seats
    code = arena.desk.seals.completion(name)
    while "location" not in rater.get("/rate").headers:
        assert code not in admin.get("/admin").text
        rater.vote()
    assert not arena.desk.schedule.complete
    assert code in rater.get("/thanks").text
    assert code in admin.get("/admin").text


def test_an_error_of_ours_shows_no_traceback(
    open_arena: Open, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena = open_arena()
    rater = visit(arena).begin()

    async def broken(rater: str) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(arena.desk, "screen", broken)
    answer = rater.get("/rate")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "your answers are safe" in answer.text


def test_a_full_disk_is_told_and_the_same_answer_can_be_sent_again(
    study: Path, open_arena: Open, visit: Visit, clock: Hand
) -> None:
    arena = open_arena()

    def pragma(text: str) -> int:
        run = arena.store.write(lambda c: c.exec_driver_sql(f"PRAGMA {text}").scalar())
        return int(run.result())

    rater = visit(arena).begin()
    form = rater.shown()
    pragma(f"max_page_count={pragma('page_count')}")
    answer = None
    for _ in range(100):
        clock.seconds += 2
        answer = rater.post("/vote", {**form, "answer": "both_bad"})
        if answer.status_code != 303:
            break
        form = rater.shown()
    assert answer is not None
    assert answer.status_code == 503
    assert "nothing was lost" in answer.text
    assert "Send the answer again" in answer.text
    before = len(load(study))
    pragma("max_page_count=1000000")
    again = rater.post("/vote", fields(answer))
    assert again.status_code == 303
    assert len(load(study)) == before + 1
    assert list(load(study)["answer"])[-1] == "both_bad"


def test_another_host_name_is_not_answered_on_loopback(open_arena: Open, visit: Visit) -> None:
    rater = visit(open_arena())
    assert rater.get("/", headers={"host": "evil.example"}).status_code == 421
    assert rater.get("/", headers={"host": "[::1]:8008"}).status_code == 200


def test_a_body_that_grows_too_large_without_saying_so_is_refused(
    open_arena: Open, visit: Visit
) -> None:
    rater = visit(open_arena()).begin()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    pieces = (b"a" * 10_000 for _ in range(1000))
    answer = rater.client.post("/vote", content=pieces, headers=kind)
    assert answer.status_code == 413
    assert "larger than any vote" in answer.text


@pytest.fixture
def server(study: Path) -> Iterator[Server]:
    running = Server(study, free_port(), {"control_videos": 0})
    running.start()
    yield running
    running.stop()


def test_ctrl_c_ends_in_order(server: Server) -> None:
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    log = server.log.read_text()
    assert "stopped; all votes are stored" in log
    assert "Traceback" not in log
    assert f"raters: http://localhost:{server.port}/" in log


INTERRUPTED = """
import signal, sys
from ablations.arena.server import run

def say(line):
    print(line, flush=True)
    if line.startswith("raters:"):
        signal.raise_signal(int(sys.argv[2]))

run({"study": sys.argv[1], "arena": {"port": 0, "control_videos": 0}}, say)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_opening_the_address_and_serving_ends_in_order(
    study: Path, number: signal.Signals
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(study), str(int(number))],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "stopped; all votes are stored"
    assert "Traceback" not in done.stderr


def test_sigterm_ends_in_order(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "stopped; all votes are stored" in server.log.read_text()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_of_ten_megabytes_is_refused_before_it_is_read(
    server: Server, chunked: bool
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 60) as line:
        length = "transfer-encoding: chunked" if chunked else "content-length: 10485760"
        head = f"POST /vote HTTP/1.1\r\nhost: localhost\r\n{length}\r\n"
        line.sendall(f"{head}content-type: application/x-www-form-urlencoded\r\n\r\n".encode())
        sent = 0
        if chunked:
            # Nothing says how large it is: it is refused once it has grown too large.
            block = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
            while sent < 10 * 1024 * 1024:
                try:
                    line.sendall(block)
                except (ConnectionError, TimeoutError):
                    break
                sent += len(block)
        answer = line.recv(65536)
    assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 403"))
    assert b"Traceback" not in answer


def test_a_rater_is_told_of_no_more_pairs_than_there_are(
    tmp_path: Path, open_arena: Open, visit: Visit
) -> None:
    few = studies.make(tmp_path / "few", variants=studies.NAMES[:2])
    rater = visit(open_arena(few, control_videos=0))
    page = rater.get("/").text
    assert "<dt>Pairs</dt><dd>2</dd>" in page
    assert "about 1 min" in page
    assert "<b>1</b> of 2</p>" in rater.begin().get("/rate").text
