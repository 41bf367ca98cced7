"""The page, the plots and the stage: whole, self-contained, the same twice, alive in a browser."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from PIL import Image

from bench.errors import UserError
from reports.plots.looks import MOST_VARIANTS
from reports.plots.style import HATCHES, LINES, MARKERS, PALETTE, look
from reports.publish import main as publish
from reports.stage import run
from reports.svg import inline
from tests.reports.planted import INVERTED, VANILLA

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from reports.report import Written


class Links(HTMLParser):
    """Every address that a page names, and its ids."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "srcset", "poster", "data", "action") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.append(value)


@pytest.fixture(scope="module")
def html(report: Written) -> str:
    return report.page.read_text("utf-8")


@pytest.fixture(scope="module")
def links(html: str) -> Links:
    parser = Links()
    parser.feed(html)
    return parser


def test_the_page_needs_nothing_from_the_network(html: str, links: Links) -> None:
    outside = [link for link in links.links if re.match(r"(?!data:|#)[a-z]*:?//|[a-z]+:", link)]
    assert [link for link in outside if not link.startswith("data:")] == []
    assert "@import" not in html
    assert not re.search(r"url\((?!#|data:)", html)


def test_every_link_of_the_page_leads_somewhere(report: Written, links: Links) -> None:
    assert len(links.links) > 40
    for link in links.links:
        if link.startswith("#"):
            assert link[1:] in links.ids, link
        elif not link.startswith("data:"):
            assert (report.page.parent / link).is_file(), link


def test_costs_and_the_papers_numbers_have_one_heading_each(html: str) -> None:
    headings = re.findall(r"<h[23]>(.*?)</h[23]>", html)
    assert headings.count("Cost") == 1
    assert sum("numbers" in text for text in headings) == 1


def test_no_two_elements_share_an_id(links: Links) -> None:
    assert len(links.ids) == len(set(links.ids))


def test_the_page_tells_counts_failures_and_where_it_comes_from(html: str) -> None:
    assert "<b>64</b><span>videos asked</span>" in html
    assert "<b>62</b><span>made</span>" in html
    assert "no &lt;room&gt; &amp; left" in html
    assert "Traceback: here" in html
    for words in (
        "OutOfMemoryError",
        "digest abababababab",
        "torch 2.9",
        "@misc{framepack",
        "reported, second-hand",
        "simulated",
        "stage=report study=",
        "piqe",
    ):
        assert words in html, words


def test_all_plots_are_drawn_and_inlined(report: Written, html: str) -> None:
    assert set(report.plots) == {
        "quality_over_time",
        "drift",
        "ratings",
        "win_rates",
        "dynamic_against_drift",
        "cost_against_quality",
        "variance_explained",
        "radar",
    }
    for name in (*report.plots, *report.filmstrips):
        folder = report.page.parent / "plots"
        assert (folder / f"{name}.svg").stat().st_size > 1000
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for name in report.plots:
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert html.count("<svg") == len(report.plots)
    assert html.count("data:image/jpeg;base64") == 20


def test_a_plot_drawn_twice_is_the_same_bytes(report: Written, tmp_path: Path) -> None:
    from reports.plots import save, styled
    from reports.plots.dots import drift

    for folder in (tmp_path / "a", tmp_path / "b"):
        with styled():
            plot = drift(report.analysis)
        assert plot is not None
        save(plot.figure, folder, plot.name)
    for kind in ("svg", "png", "pdf"):
        again = [(tmp_path / of / f"drift.{kind}").read_bytes() for of in "ab"]
        assert again[0] == again[1]
    assert again[0] == (report.page.parent / "plots" / "drift.pdf").read_bytes()


def test_variants_are_told_apart_without_colour() -> None:
    looks = [look(place) for place in range(MOST_VARIANTS)]
    assert len({one.marker for one in looks}) == MOST_VARIANTS
    assert len({one.colour for one in looks}) == MOST_VARIANTS
    for wheel in (PALETTE, MARKERS, LINES, HATCHES):
        assert len({str(one) for one in wheel}) == len(wheel)


def test_inlined_plots_follow_the_pages_colours() -> None:
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg><svg width="1pt" height="2pt" viewBox="0 0 1 2">'
        '<metadata>x</metadata><g id="a" style="fill: #1b1b1f"/><use href="#a" '
        'style="stroke: #0072b2; clip-path: url(#c)"/></svg>'
    )
    text = inline(svg, "plot", "Drift & <motion>")
    assert text == (
        '<svg viewBox="0 0 1 2" role="img" aria-label="Drift &amp; &lt;motion&gt;">'
        '<g id="plot-a" style="fill: currentColor"/>'
        '<use href="#plot-a" style="stroke: var(--c0); clip-path: url(#plot-c)"/></svg>'
    )


def test_the_stage_writes_a_report_and_prints_the_table(
    planted_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"out": str(tmp_path / "out"), "filmstrips": 0, "videos": "embed", "studies": []}
    assert run({"study": str(planted_study), "report": options}) == 0
    shown = capsys.readouterr().out
    assert VANILLA in shown
    assert "ΔClarity↓" in shown
    assert "1 of 64 cells failed" in shown
    assert str(tmp_path / "out" / "index.html") in shown
    page = (tmp_path / "out" / "index.html").read_text()
    assert "data:video/mp4;base64," in page


def test_the_stage_refuses_what_it_does_not_know(planted_study: Path) -> None:
    with pytest.raises(UserError, match=r"report\.colour: not an option.*baseline"):
        run({"study": str(planted_study), "report": {"colour": "red"}})
    with pytest.raises(UserError, match=r"report\.scenes: no cell 'x_1'"):
        run({"study": str(planted_study), "report": {"scenes": ["x_1"], "parquet": False}})
    # One of them needs no brackets.
    with pytest.raises(UserError, match=r"report\.scenes: no cell 'x_1'"):
        run({"study": str(planted_study), "report": {"scenes": "x_1", "parquet": False}})
    with pytest.raises(UserError, match="study=other: no study there"):
        run({"study": str(planted_study), "report": {"studies": "other"}})


def test_publishing_where_no_folder_can_be_is_one_line(
    planted_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert publish([str(planted_study), str(tmp_path / "file" / "p")]) == 2
    told = f"error: Not a directory at {tmp_path}/file/p; mend that and run it again\n"
    assert capsys.readouterr().err == told


def test_the_configuration_names_every_option_of_reports() -> None:
    from reports.report import write

    stored = yaml.safe_load(Path("conf/report/default.yaml").read_text())
    assert set(stored) == {*(write.__kwdefaults__ or {}), "out", "studies", "tensorboard", "wandb"}


def test_the_recipe_asks_for_the_same_study_again(tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    from bench.study import Study
    from reports.analysis import analyse
    from reports.provenance import commands, write_recipe
    from reports.results import load
    from tests.reports.planted import FOUR, plant

    path = tmp_path / "s"
    settings = {"generator": {"name": "planted"}, "video": {"fps": 30.0}}
    asked = {"variant": VANILLA, "seeds": 0, "batch": 4, "name": "first"}
    asked["arena"] = {"database": "postgresql://somebody:secret@host/name"}
    Study.create(path, settings, asked)
    plant(path, FOUR, prompts=2, seeds=2, curves=False)
    (path / "report").mkdir()
    recipe = write_recipe(analyse(load(path)), path, path / "report")
    assert recipe is not None
    with initialize_config_dir(str(path / "report"), version_base=None):
        cfg = compose("reproduce", overrides=["study=x", "+stage=generate"])
    assert list(cfg.variant) == [made.name for made in FOUR]
    assert list(cfg.seeds) == [0, 1]
    assert cfg.batch == 4
    assert cfg.arena.database is cfg.report.votes is None  # new videos, new votes
    assert "--config-name=reproduce stage=generate" in commands([path], path / "report")


def test_loggers_get_every_mean(report: Written) -> None:
    from reports.logging import means

    found = means(report.analysis)
    assert set(found) == {entrant.name for entrant in report.analysis.variants}
    assert {"clarity", "clarity.drift", "elo"} <= set(found[VANILLA])


@pytest.fixture(scope="module")
def browser(require: Callable[..., str]) -> Iterator[Browser]:
    """Chromium, without a network that could answer."""
    from playwright.sync_api import sync_playwright

    path = require("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"], timeout=180_000
        )
        yield browser
        browser.close()


def opened(browser: Browser, report: Written, **options: Any) -> tuple[Page, list[str], list[str]]:
    """The report in a browser, with what the console said and what was asked of the network."""
    page = browser.new_page(**options)
    page.set_default_timeout(120_000)
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.page.as_uri())
    page.wait_for_timeout(300)
    return page, said, asked


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_quiet_and_fits(
    browser: Browser, report: Written, scheme: Any, width: int
) -> None:
    size = {"width": width, "height": 900}
    page, said, asked = opened(browser, report, viewport=size, color_scheme=scheme)
    # Scenes that the planted study has no video file of would be misses; the first has.
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(252, 252, 250)" if scheme == "light" else "rgb(20, 20, 23)")
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 1265])
def test_of_the_main_tables_no_column_hides_for_a_few_pixels(
    browser: Browser, report: Written, width: int
) -> None:
    page, _, _ = opened(browser, report, viewport={"width": width, "height": 900})
    for name in ("samplers", "packings", "differences", "coverage"):
        box = page.locator(f"#table-{name} .scroll")
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0, name
    name = page.locator("#table-samplers tbody tr:not(.block) th").first.text_content()
    assert name == VANILLA
    page.close()


DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Until what was scrolled is on the screen: effects of scrolling come with the next picture."""


@pytest.mark.browser
def test_what_is_scrolled_shows_it_at_the_left_too(browser: Browser, report: Written) -> None:
    page, _, _ = opened(browser, report, viewport={"width": 390, "height": 900})
    beside = "getComputedStyle(document.querySelector('#table-samplers tbody tr:not(.block) th'), "
    beside += "'::after').opacity"
    left = []
    for place in ("0", "box.scrollWidth", "0"):
        for name in ("table-samplers", "plot-drift"):
            page.locator(f"#{name} .scroll").evaluate(f"box => {{ box.scrollLeft = {place} }}")
        page.evaluate(DRAWN)
        image = Image.open(io.BytesIO(page.locator("#plot-drift .scroll").screenshot()))
        column = [image.convert("L").getpixel((1, y)) for y in range(image.height)]
        left.append((float(page.evaluate(beside)), float(np.median(column))))
    assert [shade for shade, _ in left] == [0, 1, 0]
    assert left[1][1] < left[0][1] - 30
    assert left[2] == left[0]
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_is_cut_shows_it_at_the_edge(
    browser: Browser, report: Written, scheme: Any
) -> None:
    size = {"width": 390, "height": 900}
    page, _, _ = opened(browser, report, viewport=size, color_scheme=scheme)
    box = page.locator("#table-samplers .scroll")

    def shade() -> int:
        """How far the right edge is from the paper, at the first row's height."""
        image = Image.open(io.BytesIO(box.screenshot())).convert("L")
        inner = page.evaluate("getComputedStyle(document.body).backgroundColor")
        paper = int(inner.removeprefix("rgb(").split(",")[0])
        column = [image.getpixel((image.width - 2, y)) for y in range(40, image.height - 4)]
        return abs(int(np.median(column)) - paper)

    assert shade() > 30
    box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
    assert shade() < 5
    page.close()


@pytest.mark.browser
def test_tables_sort_filter_and_show_intervals(browser: Browser, report: Written) -> None:
    page, said, _ = opened(browser, report, viewport={"width": 1280, "height": 900})
    table = page.locator("#table-samplers")

    def names() -> list[str]:
        return table.locator("tbody tr:not(.block):visible th").all_inner_texts()

    printed = names()
    assert table.locator("tr.block:visible").count() == 3
    table.locator("thead button", has_text="ΔClarity").click()
    assert names()[0] == INVERTED
    assert table.locator("tr.block:visible").count() == 0
    table.locator("thead button", has_text="ΔClarity").click()
    assert names()[-1] == INVERTED
    table.locator("thead button", has_text="ΔClarity").click()
    assert names() == printed

    assert table.locator(".iv:visible").count() == 0
    table.locator("input[type=checkbox]").check()
    assert table.locator(".iv:visible").count() >= 44

    tests = page.locator("#table-tests")
    everything = tests.locator("tbody tr:visible").count()
    tests.locator("input[type=search]").fill("inverted nothing")
    assert tests.locator("tbody tr:visible").count() == 0
    tests.locator("input[type=search]").fill(f"{INVERTED} δclarity")
    assert tests.locator("tbody tr:visible").count() == 1 < everything
    assert said == []
    page.close()


@pytest.mark.browser
def test_videos_play_in_step(browser: Browser, report: Written) -> None:
    page, said, _ = opened(browser, report, viewport={"width": 1280, "height": 900})
    stage = page.locator("#theatre")
    assert stage.locator("video").count() == 4
    page.wait_for_function("[...document.querySelectorAll('video')].every(v => v.readyState >= 1)")
    stage.locator("[data-part=place]").fill("0.5")
    page.wait_for_function(
        "[...document.querySelectorAll('video')].every(v => Math.abs(v.currentTime - 1.217) < .1)"
    )
    stage.locator("[data-part=play]").click()
    page.wait_for_function("document.querySelector('video').currentTime > 1.4")
    page.wait_for_function(
        """() => { const t = [...document.querySelectorAll('video')].map(v => v.currentTime);
                   return Math.max(...t) - Math.min(...t) < .25; }"""
    )
    stage.locator("[data-part=play]").click()
    assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    # The failed cell's place is taken by its reason.
    stage.locator("[data-part=scene]").select_option(label="scene-002, seed 1")
    assert "failed: no <room> & left" in stage.locator(".absent").inner_text()
    assert [line for line in said if "ERR_FILE_NOT_FOUND" not in line] == []
    page.close()
