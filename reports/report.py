"""Write a report: read the study, compute, and put tables, plots and the page in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pandas import CategoricalDtype

from bench.errors import UserError
from bench.files import sweep
from reports import anonymous as hidden
from reports.analysis import Analysis, analyse
from reports.results import load
from reports.tables import Table, all_tables
from reports.tables import write as write_table

PARQUET = "results.parquet"


@dataclass(frozen=True)
class Written:
    """What a report consists of."""

    page: Path
    analysis: Analysis
    tables: Mapping[str, Table]
    plots: tuple[str, ...]
    filmstrips: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=(), repr=False)


def write(
    studies: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    baseline: str | None = None,
    question: str | None = None,
    title: str | None = None,
    videos: Literal["link", "embed", "none"] = "link",
    filmstrips: int = 3,
    scenes: Sequence[str] = (),
    parquet: bool = True,
    anonymous: bool = False,
    votes: str | None = None,
) -> Written:
    """Write tables, plots and the page of one study, or of several read as one.

    Args:
        studies: study folders.
        out: the report's folder; by default `report` in the first study.
        baseline: the variant that differences are taken to.
        question: which of the arena's questions ELO is of.
        title: the page's heading; by default the study's name.
        videos: `link` them by relative path, `embed` them, or `none`.
        filmstrips: how many scenes are drawn as filmstrips.
        scenes: `PROMPT_SEED` names for the filmstrips, instead of random ones.
        parquet: whether to write all scores as one tidy table.
        anonymous: leave out tracebacks and the machine's folders, as `reports.publish` does.
        votes: URL of the database that holds the votes; by default the studies' own files.

    Raises:
        UserError: no study there, an unknown baseline, scene or way of showing videos.
    """
    if not studies:
        raise UserError("study: name at least one study folder")
    if not isinstance(filmstrips, int) or isinstance(filmstrips, bool) or filmstrips < 0:
        raise UserError(f"report.filmstrips={filmstrips}: give a whole number from 0 on")
    paths = [Path(study) for study in studies]
    results = load(*paths, votes=votes)
    if anonymous:
        results = hidden.anonymous(results)
    analysis = analyse(results, baseline=baseline, question=question)
    folder = Path(out) if out is not None else paths[0] / "report"
    for part in (".", "tables", "plots"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        sweep(folder / part)  # what a killed report was writing
    tidy = _begin(_write_parquet, analysis, folder / PARQUET) if parquet else None
    tables = all_tables(analysis)
    files = [path for table in tables.values() for path in write_table(table, folder / "tables")]

    # matplotlib takes a second to import; what only reads tables should not wait for it.
    from reports.page import drawn, write_page
    from reports.plots import all_plots, save, styled
    from reports.plots import filmstrip as films
    from reports.provenance import write_recipe

    plots = []
    for plot in all_plots(analysis):
        saved = save(plot.figure, folder / "plots", plot.name)
        plots.append(drawn(plot.name, plot.title, plot.caption, saved[0]))
        files += saved
    shown = films.filmstrips(analysis, filmstrips, scenes)
    for film in shown:
        with styled():
            figure = films.draw(film).figure
        files += save(figure, folder / "plots", film.name, pdf=False)
    files += [folder / PARQUET] if parquet else []
    recipe = write_recipe(analysis, paths[0], folder)
    files += [recipe] if recipe else []
    page = write_page(
        analysis,
        tables,
        plots,
        shown,
        folder,
        studies=paths,
        title=title or ", ".join(path.resolve().name for path in paths),
        videos=videos,
        parquet=PARQUET if parquet else "",
        votes=votes,
        claims=[tables[name] for name in ("claims", "claim_parts") if name in tables],
        anonymous=anonymous,
    )
    if tidy is not None:
        tidy.result()
    return Written(
        page,
        analysis,
        tables,
        tuple(plot.name for plot in plots),
        tuple(film.name for film in shown),
        (*files, page),
    )


def _begin(work: Callable[..., None], *arguments: object) -> Future[None]:
    """Work beside the rest: pyarrow writes outside Python's lock."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work, *arguments)
    finally:
        pool.shutdown(wait=False)


def _write_parquet(analysis: Analysis, path: Path) -> None:
    from bench.files import replacing

    with replacing(path) as temporary:
        tidy = analysis.results.tidy()
        words = [name for name, kind in tidy.dtypes.items() if isinstance(kind, CategoricalDtype)]
        # Numbers hardly ever repeat: looking for those that do costs as much as writing them.
        tidy.to_parquet(temporary, index=False, compression="zstd", use_dictionary=words)
