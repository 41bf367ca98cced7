"""Suites: read from three formats, checked as a whole, stored once."""

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from bench import prompts, suites
from bench.errors import UserError
from bench.study import Study

ROWS = [
    {
        "id": "walk-1",
        "text": "a man walks",
        "image": "a.png",
        "negative": "blur",
        "tags": "walk;man",
    },
    {
        "id": "dance-1",
        "text": "a girl dances, happily",
        "image": "",
        "negative": "",
        "tags": "dance",
    },
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (32, 32), (10, 200, 30)).save(tmp_path / "a.png")
    return tmp_path


def write(folder: Path, suffix: str, rows: list[dict[str, str]]) -> Path:
    path = folder / f"suite{suffix}"
    if suffix == ".csv":
        lines = [",".join(rows[0])] + [",".join(f'"{v}"' for v in row.values()) for row in rows]
        path.write_text("\n".join(lines))
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(yaml.safe_dump({"prompts": rows}))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".yaml"])
def test_three_formats_say_the_same(folder: Path, suffix: str) -> None:
    suite = prompts.load(write(folder, suffix, ROWS))
    walk, dance = suite.prompts
    assert (walk.id, walk.text, walk.negative) == ("walk-1", "a man walks", "blur")
    assert walk.tags == ("walk", "man")
    assert walk.image == folder / "a.png"
    assert dance.image is None


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_text_may_have_lines_of_its_own(folder: Path, suffix: str) -> None:
    text = (
        "a man walks\nslowly,\u2028then\x85runs" if suffix == ".csv" else "he walks\u2028and runs"
    )
    path = folder / f"suite{suffix}"
    if suffix == ".csv":
        path.write_text(f'id,text\none,"{text}"\n\nt@o,runs\n', "utf-8")
    else:
        rows = [{"id": "one", "text": text}, {"id": "t@o", "text": "runs"}]
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    line = 5 if suffix == ".csv" else 2
    with pytest.raises(UserError, match=rf"^suite\{suffix}: line {line}: id 't@o' must be .*$"):
        prompts.load(path)
    path.write_text(path.read_text("utf-8").replace("t@o", "two"), "utf-8")
    assert [prompt.text for prompt in prompts.load(path).prompts] == [text, "runs"]


@pytest.mark.parametrize(
    ("suffix", "text", "says"),
    [
        (
            ".csv",
            "id;text\none;runs\n",
            "line 1: semicolons between the fields; save it with commas",
        ),
        (".csv", "id\ttext\none\truns\n", "line 1: tabs between the fields"),
        (".csv", "id,text\nTür,runs\n", "'Tür' must be a-z A-Z 0-9 . _ + -, the first of them no"),
        (".csv", 'id,text\none,"never closed\ntwo,runs\n', "line 2: not CSV"),
        (
            ".yaml",
            "[{id: one, text: runs, tags: 5}]",
            "prompt 1: prompt 'one': tags 5: give a list",
        ),
        (".jsonl", '{"id": "one", "text": "runs", "tags": {"a": 1}}', "tags {'a': 1}: give a list"),
    ],
)
def test_what_is_no_suite_is_one_line(folder: Path, suffix: str, text: str, says: str) -> None:
    path = folder / f"suite{suffix}"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        prompts.load(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_video_ends_with_is_checked_and_kept_in_the_study(folder: Path) -> None:
    Image.new("L", (16, 16), 90).save(folder / "b.gif")
    row = {"id": "walk-1", "text": "a man walks", "image": "a.png", "end_image": "b.gif"}
    suite = prompts.load(write(folder, ".csv", [row]))
    assert suite.prompts[0].end_image == folder / "b.gif"
    study = Study.create(folder / "study", {})
    (kept,) = prompts.store(study, suite).prompts
    assert kept.end_image == study.path / "prompts" / "walk-1@end.png"
    with Image.open(kept.end_image) as end:
        assert (end.format, end.mode, end.size) == ("PNG", "RGB", (16, 16))
    assert prompts.store(study, suite).prompts == (kept,)

    Image.new("L", (16, 16), 91).save(folder / "b.gif")
    with pytest.raises(UserError, match="another prompt 'walk-1'"):
        prompts.store(study, suite)
    without = write(folder, ".jsonl", [row | {"end_image": "c.png"}])
    with pytest.raises(UserError, match=r"prompt 'walk-1': image c\.png is missing"):
        prompts.load(without)


def test_all_problems_are_told_at_once(folder: Path) -> None:
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:40])
    rows = [
        ROWS[0],
        {**ROWS[0], "text": "again"},
        {**ROWS[1], "id": "x/../y"},
        {**ROWS[1], "id": "missing", "image": "no.png"},
        {**ROWS[1], "id": "escape", "image": "../../etc/passwd"},
        {**ROWS[1], "id": "broken", "image": "broken.png"},
        {**ROWS[1], "id": "silent", "text": " "},
        {**ROWS[1], "id": "more", "mood": "sad"},
    ]
    with pytest.raises(UserError) as error:
        prompts.load(write(folder, ".jsonl", rows))
    lines = str(error.value).splitlines()
    assert len(lines) == 7
    for line, says in zip(
        lines,
        ["twice", "x/../y", "no.png is missing", "leaves", "broken.png cannot be read", "no text",
         "unknown field mood"],
        strict=True,
    ):  # fmt: skip
        assert says in line


def test_a_study_keeps_prompts_once_and_refuses_others_of_the_same_name(folder: Path) -> None:
    suite = prompts.load(write(folder, ".yaml", ROWS))
    study = Study.create(folder / "study")
    kept = prompts.store(study, suite)
    assert kept.prompts[0].image == folder / "study/prompts/walk-1.png"
    before = {path: path.stat().st_mtime_ns for path in (folder / "study").rglob("*")}
    prompts.store(study, suite)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "study").rglob("*")}
    other = prompts.load(write(folder, ".yaml", [{**ROWS[0], "text": "a man runs"}]))
    with pytest.raises(UserError, match="another prompt 'walk-1'"):
        prompts.store(study, other)


def test_selection_names_what_there_is(folder: Path) -> None:
    suite = prompts.load(write(folder, ".csv", ROWS))
    assert [prompt.id for prompt in suite.select(None, ["dance"]).prompts] == ["dance-1"]
    with pytest.raises(UserError, match="no run; there are dance, man, walk"):
        suite.select(None, ["run"])


def test_the_pocket_suite_shares_first_frames_and_covers_all_actions() -> None:
    suite = suites.pocket(8, 900_000)
    assert len(suite.prompts) == 16
    assert len({prompt.id for prompt in suite.prompts}) == 16
    assert len({prompt.tags[0] for prompt in suite.prompts}) == 8
    for one, two in zip(suite.prompts[::2], suite.prompts[1::2], strict=True):
        assert one.text != two.text
        assert one.png() == two.png()
    assert suite.prompts[0].png() == suites.pocket(1, 900_000).prompts[0].png()


@pytest.mark.parametrize("given", ["walk-00", ["walk-00"]])
def test_one_id_needs_no_brackets(given: object) -> None:
    cfg = {"kind": "pocket", "file": None, "scenes": 8, "first_scene": 0, "tags": None}
    suite = suites.chosen({**cfg, "ids": given, "limit": None})
    assert [prompt.id for prompt in suite.prompts] == ["walk-00"]


def test_the_motion_suite_has_sixty_prompts_of_every_kind(tmp_path: Path) -> None:
    import csv

    rows = list(csv.DictReader((suites.SHIPPED / "motion.csv").read_text().splitlines()))
    for row in rows:
        path = tmp_path / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
    cfg = {"kind": "file", "file": "motion.csv", "images_dir": str(tmp_path), "ids": None,
           "tags": None, "limit": None}  # fmt: skip
    suite = suites.chosen(cfg)
    assert len(suite.prompts) >= 60
    tags = {tag for prompt in suite.prompts for tag in prompt.tags}
    assert tags >= {"dance", "walk", "talk", "camera", "object", "exit-frame", "long-range-memory"}
    (tmp_path / rows[3]["image"]).unlink()
    with pytest.raises(UserError, match=f"{rows[3]['image']} is missing") as error:
        suites.chosen(cfg)
    assert len(str(error.value).splitlines()) == 1
    # What is not asked for need not be there.
    assert len(suites.chosen({**cfg, "limit": 3}).prompts) == 3
    with pytest.raises(UserError, match=f"{rows[3]['image']} is missing"):
        suites.chosen({**cfg, "limit": 4})


def test_a_file_that_is_not_there_is_told_with_the_one_meant(folder: Path) -> None:
    write(folder, ".csv", ROWS)
    cfg = {"kind": "file", "images_dir": None, "ids": None, "tags": None, "limit": None}
    for name, meant in (("suit.csv", folder / "suite.csv"), ("motoin.yaml", "motion")):
        with pytest.raises(UserError) as error:
            suites.chosen(cfg | {"file": str(folder / name)})
        said = f"prompts.file={folder / name}: no such file; did you mean prompts={meant}?"
        assert str(error.value) == said
