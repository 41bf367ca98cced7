"""A real browser rates a six-variant study, from the first page to the code.

By mouse, by keyboard and on a phone; and what a person sees can be read, reached and heard.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api

from ablations.arena.votes import load
from tests.ablations.arena import studies
from tests.ablations.arena.serving import Server
from tests.ports import free_port

pytestmark = pytest.mark.browser

QUIET = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--no-first-run",
)
PAIRS = 5
WIDE = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
OPEN = "body.open"
SLOW = 60_000  # milliseconds: a busy machine is no reason to fail


@pytest.fixture(scope="module")
def chromium(require: Callable[..., str]) -> Iterator[Any]:
    program = require("chromium", "chromium-browser", "google-chrome")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(QUIET), timeout=3 * SLOW
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    study = Path(shutil.copytree(made, tmp_path_factory.mktemp("browser") / "study"))
    settings = {"controls_per_rater": 1, "repeats_per_rater": 1, "control_videos": 3}
    server = Server(study, free_port(), {"pairs_per_rater": PAIRS, **settings})
    server.start()
    yield server
    server.stop()


@contextmanager
def page_of(chromium: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page in a fresh profile, and what its console said."""
    context = chromium.new_context(**options)
    context.set_default_timeout(SLOW)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page, said
    context.close()


def begin(page: Any, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/rate")


def code(page: Any) -> str:
    page.wait_for_url("**/thanks")
    return str(page.locator(".code code").inner_text())


def by_mouse(page: Any, number: int) -> None:
    page.locator("button[name=answer]").nth(number % 4).click()


def by_keyboard(page: Any, number: int) -> None:
    page.keyboard.press(str(number % 4 + 1))


def by_touch(page: Any, number: int) -> None:
    page.locator("button[name=answer]").nth(number % 4).tap()


@pytest.mark.parametrize(
    ("answer", "options"),
    [(by_mouse, WIDE), (by_keyboard, WIDE), (by_touch, PHONE)],
    ids=["mouse", "keyboard", "phone"],
)
def test_a_rater_gets_from_the_first_page_to_the_code(
    chromium: Any,
    served: Server,
    answer: Callable[[Any, int], None],
    options: dict[str, Any],
) -> None:
    seen: list[str] = []
    with page_of(chromium, **options) as (page, said):
        page.on("request", lambda request: seen.append(request.url + str(request.headers)))
        page.on("response", lambda response: seen.append(str(response.headers)))
        begin(page, served)
        for number in range(PAIRS):
            assert page.locator("#count").inner_text() == f"{number + 1} of {PAIRS}"
            page.wait_for_selector(OPEN)
            seen.append(page.content())
            # The step from one page to the next is also one from this URL to the same URL.
            with page.expect_navigation():
                answer(page, number)
        assert re.fullmatch(r"[A-Z2-7]{5}-[A-Z2-7]{5}", code(page))
        assert said == []
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide
    table = load(served.study)
    table = table[table["rater"] == table["rater"].iloc[-1]]
    assert list(table["answer"]) == ["left", "right", "tie", "both_bad", "left"]
    # Clips are half a second long: each has been watched to its end.
    assert (table["watched_left"] >= 0.35).all()
    assert (table["watched_right"] >= 0.35).all()
    told = "\n".join(seen)
    assert [name for name in studies.telling(served.study) if name in told] == []


APART = """
() => new Promise((done) => {
  const [left, right] = document.querySelectorAll("video");
  let rounds = 0, last = 0, before = 0, most = 0;
  setTimeout(() => done("they do not loop"), 120000);
  const look = () => {
    const moved = left.seeking || right.seeking;
    const now = moved ? 0 : Math.abs(left.currentTime - right.currentTime);
    most = Math.max(most, Math.min(before, now));
    before = now;
    if (left.currentTime < last) rounds += 1;
    last = left.currentTime;
    if (rounds < 3) requestAnimationFrame(look); else done(most);
  };
  requestAnimationFrame(look);
})
"""
"""How far two videos ever are from each other through three rounds; it ends because they loop.

Looked at in every picture that the browser draws, after the page has done so itself. One that a
stalled machine left behind may be put right in the next picture.
"""


def test_playback_is_in_step_loops_scrubs_and_opens_the_answers(
    chromium: Any, served: Server
) -> None:
    times = "[...document.querySelectorAll('video')].map(v => v.currentTime)"
    paused = "[...document.querySelectorAll('video')].map(v => v.paused)"
    with page_of(chromium, **WIDE) as (page, _):
        held: list[Any] | None = []
        page.route(
            "**/clip/**",
            lambda route: route.continue_() if held is None else held.append(route),
        )
        begin(page, served)
        for key in "1234":
            page.keyboard.press(key)
        assert page.locator("button[name=answer]:disabled").count() == 4
        assert page.locator("#count").inner_text() == f"1 of {PAIRS}"
        kept, held = held, None
        for route in kept:
            route.continue_()
        page.wait_for_selector(OPEN)
        apart = page.evaluate(APART)
        assert isinstance(apart, float | int), apart
        assert apart < 0.15
        page.keyboard.press("Space")
        page.wait_for_function(f"() => {paused}.every(Boolean)")
        assert page.get_by_role("button", name="Play", exact=True).count() == 1
        page.locator("#scrub").evaluate(
            "s => { s.value = 500; s.dispatchEvent(new Event('input')); "
            "s.dispatchEvent(new Event('change')); }"
        )
        page.wait_for_function(f"() => {times}.every(t => Math.abs(t - 0.25) < 0.05)")
        page.keyboard.press("ArrowLeft")
        page.wait_for_function(f"() => {times}.every(t => t < 0.01)")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"() => {times}.every(t => t > 0.4)")
        page.keyboard.press("r")
        page.wait_for_function(f"() => {paused}.some(p => !p)")
        assert page.get_by_role("button", name="Pause").count() == 1


def test_the_next_pair_is_loaded_while_this_one_is_watched(chromium: Any, served: Server) -> None:
    with page_of(chromium, **WIDE) as (page, _):
        begin(page, served)
        wanted = page.locator("#pair").get_attribute("data-next-1")
        page.wait_for_function(
            "url => performance.getEntriesByType('resource').some(e => e.name.endsWith(url))",
            arg=wanted,
        )
        page.wait_for_selector(OPEN)
        with page.expect_navigation():
            page.keyboard.press("3")
        assert page.locator("#left").get_attribute("src") == wanted


def test_closing_the_browser_and_coming_back_continues(
    chromium: Any, served: Server, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    with page_of(chromium, **WIDE) as (page, _):
        begin(page, served)
        page.wait_for_selector(OPEN)
        with page.expect_navigation():
            page.keyboard.press("1")
        page.wait_for_selector("video")
        page.context.storage_state(path=state)
    served.stop()
    served.start()
    with page_of(chromium, storage_state=state, **PHONE) as (page, _):
        page.goto(f"http://127.0.0.1:{served.port}/")
        page.get_by_role("button", name="Continue").tap()
        page.wait_for_url("**/rate")
        assert page.locator("#count").inner_text() == f"2 of {PAIRS}"


LUMINANCE = """
async () => {
  // Colours move for a moment.
  for (let moving; (moving = document.getAnimations()).length;)
    await Promise.allSettled(moving.map((one) => one.finished));
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) =>
      c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, below) => {
    const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map((i) => top[i] * a + below[i] * (1 - a));
  };
  const ground = (node) => {
    const layers = [];
    for (let n = node; n; n = n.parentElement) layers.push(parse(getComputedStyle(n).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.getClientRects().length || node.closest("noscript")) continue;
    const below = ground(node);
    const a = light(over(parse(getComputedStyle(node).color), below)), b = light(below);
    found.push([node.textContent.trim().slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}
"""  # noqa: E501

NAMELESS = """
() => [...document.querySelectorAll("button, input:not([type=hidden]), textarea, a, video, img, progress")]
  .filter((n) => n.getClientRects().length)
  .filter((n) => !(n.textContent.trim() || n.getAttribute("aria-label") || n.alt
    || n.getAttribute("aria-labelledby") || (n.labels && n.labels.length)))
  .map((n) => n.outerHTML)
"""  # noqa: E501


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [WIDE, PHONE], ids=["wide", "phone"])
def test_pages_can_be_read_reached_and_named(
    chromium: Any, served: Server, scheme: str, options: dict[str, Any]
) -> None:
    token = (served.study / ".arena" / "admin-token").read_text()
    with page_of(chromium, color_scheme=scheme, **options) as (page, _):

        def look(*, title: str) -> None:
            dim = [(text, ratio) for text, ratio in page.evaluate(LUMINANCE) if ratio < 4.5]
            assert dim == []
            assert page.evaluate(NAMELESS) == []
            assert page.locator("h1").count() == 1
            assert page.locator("html").get_attribute("lang") == "en"
            assert page.locator("main").count() == 1
            assert title in page.title()
            assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")

        page.goto(f"http://127.0.0.1:{served.port}/")
        look(title="Which video")
        begin(page, served)
        look(title=f"1 of {PAIRS}")
        page.wait_for_selector(OPEN)
        look(title=f"1 of {PAIRS}")
        # Focus goes as one reads: description, playback, then the answers in the order of keys.
        order = []
        page.locator("body").evaluate("b => b.focus()")
        for _ in range(8):
            page.keyboard.press("Tab")
            order.append(
                page.evaluate(
                    "(e => e.value && e.name ? e.value : e.id || e.className)"
                    "(document.activeElement)"
                )
            )
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
        answers = ["left", "right", "tie", "both_bad"]
        assert order == ["prompt", "play", "replay", "scrub", *answers]
        for size in page.evaluate(
            "[...document.querySelectorAll('button')].map(b => b.getBoundingClientRect())"
            ".map(r => Math.min(r.width, r.height))"
        ):
            assert size >= 44
        page.goto(f"http://127.0.0.1:{served.port}/admin")
        look(title="Which video")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.wait_for_selector("table")
        look(title="Which video")


def test_who_asked_for_less_motion_is_not_played_at(chromium: Any, served: Server) -> None:
    with page_of(chromium, reduced_motion="reduce", **WIDE) as (page, _):
        begin(page, served)
        page.wait_for_timeout(500)
        assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
        page.keyboard.press("Space")
        page.wait_for_selector(OPEN)


def test_without_scripts_the_page_says_what_is_needed(chromium: Any, served: Server) -> None:
    with page_of(chromium, java_script_enabled=False, **WIDE) as (page, _):
        begin(page, served)
        assert "Please allow scripts" in page.locator("noscript").inner_text()
        assert page.locator("button[name=answer]:disabled").count() == 4
