"""The study folder: whole files, requests that add up, records that say what happened."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench import files
from bench.cell import CellError, CellRecord, Key
from bench.claims import Worker
from bench.errors import UserError
from bench.study import Study


def record(key: Key, status: str = "done", **fields: object) -> CellRecord:
    return CellRecord.model_validate(
        {"variant": key.variant, "prompt_id": key.prompt_id, "seed": key.seed, "status": status}
        | fields
    )


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    files.atomic_write(path, "old")
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("new, half")
        raise RuntimeError("the disk is full")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cell.json"]


def test_of_many_writers_one_creates(tmp_path: Path) -> None:
    path, won = tmp_path / "cell.json", list[int]()

    def write(number: int) -> None:
        if files.create_once(path, str(number)):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() == str(*won)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cell.json"]


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from bench import files\n"
        "files.temporary_path(Path(sys.argv[1])).write_text('half'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "video.mp4")], check=False)
    mine = files.temporary_path(tmp_path / "video.mp4")
    mine.write_text("being written")
    assert files.sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [mine]
    assert files.sweep(tmp_path, held=["video.mp4"]) == 1


def test_requests_of_several_processes_add_up(tmp_path: Path) -> None:
    one, two = Study.create(tmp_path, {"fps": 16}), Study.create(tmp_path, {"fps": 16})
    one.ask(["a"], ["p"], [0, 1])
    two.ask(["b", "a"], ["p", "q"], [0])
    assert one.asked == two.asked == [
        Key("a", "p", 0), Key("a", "p", 1), Key("b", "p", 0), Key("b", "q", 0), Key("a", "q", 0),
    ]  # fmt: skip


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    study = Study.create(tmp_path, {"generator": {"steps": 25}, "video": {"fps": 16}})
    named = {"variant": "v", "prompt_id": "p", "seed": 0}
    study.cell("v", "p", 0).write(CellRecord.model_validate(named | {"status": "done"}))
    with pytest.raises(UserError, match=r"generator\.steps=25, not 8"):
        Study.create(tmp_path, {"generator": {"steps": 8}, "video": {"fps": 16}})


def test_a_study_of_failed_cells_takes_other_settings_for_all_that_was_asked(
    tmp_path: Path,
) -> None:
    wrong, right = {"steps": 0}, {"steps": 8}
    study = Study.create(tmp_path, {"generator": wrong}, {"generator": wrong, "seeds": 0})
    study.ask(["v"], ["p"], [0], {"generator": wrong, "seeds": 0})
    named = {"variant": "v", "prompt_id": "p", "seed": 0}
    study.cell("v", "p", 0).write(CellRecord.model_validate(named | {"status": "failed"}))
    study = Study.create(tmp_path, {"generator": right}, {"generator": right, "seeds": 1})
    assert study.settings == {"generator": right}
    assert [one.configuration for one in study.commands] == [{"generator": right, "seeds": 0}]
    assert study.asked == [Key("v", "p", 0)]


def test_a_study_whose_first_cell_is_being_made_or_waits_in_a_queue_keeps_its_settings(
    tmp_path: Path,
) -> None:
    study = Study.create(tmp_path, {"steps": 25})
    with study.worker() as worker:
        assert worker.claim(["generate/v/p_0"])  # the model is being loaded
        with pytest.raises(UserError, match="steps=25, not 8"):
            Study.create(tmp_path, {"steps": 8})
    assert Study.create(tmp_path, {"steps": 8}).settings == {"steps": 8}
    files.atomic_write(tmp_path / "logs" / "42.json", "{}")
    with pytest.raises(UserError, match="steps=8, not 4"):
        Study.create(tmp_path, {"steps": 4})


def test_a_request_keeps_the_configuration_of_who_asked_first(tmp_path: Path) -> None:
    study = Study.create(tmp_path)
    study.ask(["a"], ["p"], [0, 1], {"seeds": [0, 1]})
    study.ask(["b"], ["p"], [0], {"seeds": 0})
    study.ask(["a"], ["p"], [0, 1], {"seeds": "0 and 1"})
    assert [(one.keys, one.configuration) for one in study.commands] == [
        ([Key("a", "p", 0), Key("a", "p", 1)], {"seeds": [0, 1]}),
        ([Key("b", "p", 0)], {"seeds": 0}),
    ]


@pytest.mark.parametrize("name", ["a/b", "", "..", "a@b", "a b"])
def test_names_that_cannot_be_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a folder"):
        Study.create(tmp_path).ask([name], ["p"], [0])


def test_a_folder_without_a_study_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study there"):
        Study.open(tmp_path)


def test_states_follow_records_and_claims(tmp_path: Path) -> None:
    study = Study.create(tmp_path)
    study.ask(["v"], ["p"], [0, 1, 2, 3])
    cells = list(study.cells())
    cells[0].write(record(cells[0].key))
    cells[1].write(record(cells[1].key, "failed", error=CellError(kind="NaN", message="no")))
    with Worker(study.path / "claims") as worker:
        assert worker.claim([cells[2].work("generate")])
        assert list(study.states().values()) == ["done", "failed", "running", "pending"]
        assert [cell.state for cell in cells] == ["done", "failed", "running", "pending"]


def test_done_is_final_and_failed_is_not(tmp_path: Path) -> None:
    cell = Study.create(tmp_path).cell("v", "p", 0)
    assert cell.write(record(cell.key, "failed", error=CellError(kind="OOM", message="no")))
    assert cell.write(record(cell.key, seconds=1.0))
    assert not cell.write(record(cell.key, seconds=2.0))
    stored = cell.record()
    assert stored is not None
    assert (stored.status, stored.seconds) == ("done", 1.0)
    assert json.loads((cell.folder / "cell.json").read_text())["schema"] == 1


def test_a_record_of_another_schema_is_one_line(tmp_path: Path) -> None:
    cell = Study.create(tmp_path).cell("v", "p", 0)
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.json").write_text('{"status": "done", "surprise": 1}')
    with pytest.raises(UserError, match=r"cell\.json: ") as error:
        cell.record()
    assert "\n" not in str(error.value)


def test_a_study_is_read_without_torch() -> None:
    program = (
        "import sys, bench.study, bench.sweep, bench.stages.generate, bench.stages.status\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_scores_of_loose_videos_are_not_called_nothing(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores.csv").touch()
    with pytest.raises(UserError, match=r"holds scores of loose videos .* generator=folder"):
        Study.open(tmp_path)
    with pytest.raises(UserError, match="no study there"):
        Study.open(tmp_path / "scores")


@pytest.mark.parametrize("left", ["scores.csv", "scores/a.mp4/scores.parquet"])
def test_no_study_begins_among_scores_of_loose_videos(tmp_path: Path, left: str) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"holds scores of loose videos .* name another folder"):
        Study.create(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before
