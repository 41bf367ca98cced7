"""Publish a study: `python -m reports.publish STUDY FOLDER`.

A study is gigabytes of videos; what others need to check it is a few megabytes. This writes, to a
folder that can be committed: every score with what its video was made from and the video's SHA-256
(results.parquet), all tables and plots, filmstrips, the page without videos, the configuration that
asks for the study again (reproduce.yaml), and a README.md with the findings. `reports.reproduce`
makes cells of it again and compares them byte for byte. The names of machines and their folders
stay at home, with one exception: reproduce.yaml names a checkpoint that lies elsewhere by its path,
for without it nothing could be made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.errors import NO_PLACE, NO_ROOM, UserError, told
from bench.files import atomic_write, replacing
from bench.words import count
from reports.anonymous import from_here
from reports.findings import findings
from reports.report import PARQUET, Written, write
from reports.tables import to_markdown

PRIVATE = ("host", "folder")
"""Columns about the machine that made a cell."""

SHOWN = ("claims", "claim_parts", "samplers", "alternatives", "endings", "onset", "costs")
"""Tables that the README prints, where the study has them."""

DRAWN = ("quality_over_time", "drift", "dynamic_against_drift", "codes")
"""Plots that it shows."""


def publish(study: Path, folder: Path, *, filmstrips: int = 4) -> Written:
    """Write what is published of a study.

    Args:
        study: the study's folder; its videos are read for filmstrips only.
        folder: where it goes; files of an earlier publication are replaced.
        filmstrips: how many scenes are drawn as filmstrips.

    Raises:
        UserError: there is no study there, or it has no scores.
    """
    written = write([study], folder, videos="none", filmstrips=filmstrips, anonymous=True)
    if written.analysis.results.scores.empty:
        raise UserError(f"study={study}: no scores; run stage=score first")
    for part in ("tables", "plots"):
        for earlier in set((folder / part).iterdir()) - set(written.files):
            earlier.unlink()
    path = folder / PARQUET
    table = pd.read_parquet(path).drop(columns=list(PRIVATE), errors="ignore")
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    atomic_write(folder / "README.md", readme(written, folder))
    return written


def readme(written: Written, folder: Path) -> str:
    """The findings, the claims' verdicts, the main tables and plots, and how to check them."""
    analysis = written.analysis
    cells = analysis.cells
    done = int((cells["state"] == "done").sum())
    counts = (
        f"{count(len(analysis.variants), 'variant')} × "
        f"{count(cells['prompt_id'].nunique(), 'prompt')} × "
        f"{count(cells['seed'].nunique(), 'seed')}: {done} of {count(len(cells), 'video')} made."
    )
    parts = [f"# {folder.name}", counts]
    parts += ["\n".join(f"- {sentence}" for sentence in findings(analysis))]
    for name in SHOWN:
        if name in written.tables:
            table = written.tables[name]
            text = to_markdown(table, intervals=table.has_intervals and name != "samplers")
            # The heading is the title: without it, what is left begins with the table.
            parts += [f"## {table.title}", text.removeprefix(f"**{table.title}**").strip()]
    for name in (*DRAWN, *written.filmstrips):
        if name in {*written.plots, *written.filmstrips}:
            parts.append(f"![{name.replace('_', ' ')}](plots/{name}.png)")
    parts += [
        "## Check it",
        f"Three random cells, made again and compared byte for byte:\n\n"
        f"```bash\npython -m reports.reproduce {from_here(folder).as_posix()} --cells 3\n```",
        f"All scores are in `{PARQUET}`; the page is `index.html`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and publish."""
    parser = argparse.ArgumentParser(description="Write what is published of a study.")
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path, help="such as findings/pocket")
    parser.add_argument("--filmstrips", type=int, default=4)
    options = parser.parse_args(arguments)
    try:
        publish(options.study, options.folder, filmstrips=options.filmstrips)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in NO_ROOM + NO_PLACE:
            raise
        print(f"error: {told(error)}; mend that and run it again", file=sys.stderr)
        return 2 if error.errno in NO_PLACE else 1
    size = sum(path.stat().st_size for path in options.folder.rglob("*") if path.is_file())
    print(f"{options.folder}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
