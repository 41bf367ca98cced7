"""stage=doctor: every part of a generator, in a folder or in the hub's cache, and how to get it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants
from rich.console import Console

from bench.making import ROOT, generator_options
from bench.stages import doctor as stage
from bench.stages.doctor import run, sources

CONF = Path(__file__).parents[2] / "conf" / "generator"


def options(name: str, **changed: Any) -> dict[str, Any]:
    """A generator of the command line."""
    group = yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changed
    return generator_options({"generator": group, "device": None, "offline": False})


def keep(hub: Path, name: str, *files: str) -> Path:
    """Put empty files of a hub id into its cache; gives their folder."""
    kept = hub / f"models--{name.replace('/', '--')}"
    (kept / "refs").mkdir(parents=True, exist_ok=True)
    (kept / "refs" / "main").write_text("abc")
    for file in files:
        path = kept / "snapshots" / "abc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return kept / "snapshots" / "abc"


def test_the_pocket_model_is_all_there_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = sources(options("pocket"))
    assert len(rows) == 1 + 6  # the checkpoint and the codebooks
    assert all(there for _, _, there in rows)
    books = [name.removeprefix("codebooks.") for name, _, _ in rows[1:]]
    assert books == ["1", "4", "16", "64", "128", "256"]
    assert rows[0][1].startswith(str(ROOT / "bench/pocket/checkpoint"))


def test_parts_that_the_hub_s_cache_lacks_are_named_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    asked = options("framepack", loras={"style": "someone/style"}, codebooks={256: "none.st"})
    said = {name: (found, there) for name, found, there in sources(asked)}
    without = "".join(
        f" --exclude '{part}/*'" for part in ("transformer", "image_encoder", "feature_extractor")
    )
    hub = "hunyuanvideo-community/HunyuanVideo"
    assert said == {
        "checkpoint": (f"{hub} is not here; get it: hf download {hub}{without}", False),
        **{
            key: (f"{source} is not here; get it: hf download {source}", False)
            for key, source in (
                ("transformer", "lllyasviel/FramePackI2V_HY"),
                ("image_encoder", "lllyasviel/flux_redux_bfl"),
                ("loras.style", "someone/style"),
            )
        },
        "codebooks.256": ("none.st is not here: give what is there, or a hub id", False),
    }

    index = keep(tmp_path, hub, "vae/config.json", "scheduler/x", "model_index.json")
    (index / "model_index.json").write_text(
        '{"_class_name": "P", "vae": ["d", "V"], "scheduler": ["d", "S"],'
        ' "text_encoder": ["t", "L"], "transformer": ["d", "T"], "nothing": [null, null]}'
    )
    keep(tmp_path, "lllyasviel/FramePackI2V_HY", "config.json")
    keep(tmp_path, "lllyasviel/flux_redux_bfl", "image_encoder/x", "feature_extractor/x")
    keep(tmp_path, "someone/style", "style.safetensors")
    rows = sources(asked | {"codebooks": {}})
    assert [there for _, _, there in rows] == [False, True, True, True]
    assert rows[0][1].startswith(f"{index} has no text_encoder; get it: hf download {hub} ")
    (index / "text_encoder").mkdir()
    assert all(there for _, _, there in sources(asked | {"codebooks": {}}))


def test_a_folder_that_lacks_a_component_is_no_checkpoint(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "checkpoint")
    asked = {"kind": "framepack", "checkpoint": str(folder)}
    assert [there for _, _, there in sources(asked)] == [True]
    shutil.rmtree(folder / "vae")
    says = f"{folder} has no vae: give what is there, or a hub id"
    assert sources(asked) == [("checkpoint", says, False)]


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal of 80 columns"])
def test_no_path_or_command_is_broken(
    terminal: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setattr(stage, "console", lambda: Console(force_terminal=True, highlight=False))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path))  # no weights of this machine
    monkeypatch.delenv("FRAMEPACK_BENCH_WEIGHTS", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    long = tmp_path / ("codes-" + 100 * "1") / "codes.safetensors"
    group = yaml.safe_load((CONF / "framepack.yaml").read_text()) | {"codebooks": {128: str(long)}}
    cfg = {
        "study": str(tmp_path),
        "generator": group,
        "metrics": {"name": "x", "backends": ["vbench2-vit"]},
    }
    assert run(cfg | {"device": None, "offline": False}) == 1
    told = capsys.readouterr().out
    assert str(long) in told
    command = "hf download hunyuanvideo-community/HunyuanVideo --exclude 'transformer/*' --exclude"
    assert command in told
    weights = "python -m metrics.weights owlv2-base vbench2-human vbench2-face vbench2-hand"
    assert weights in told.splitlines()
