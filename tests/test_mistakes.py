"""Every mistake on the command line or in a preset is one line that a user can mend."""

import sys
from pathlib import Path

import pytest

import run_bench

VANILLA = "td_f16k4f2k2f1k1_g9"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["generator=foo"], "generator=foo: there is no such value; there are folder, "),
        (["+ablation=foo"], "there are alternatives, anchor, causal, demo, "),
        (["ablation=sampling"], "ablation=sampling: write +ablation=sampling, with a plus"),
        (["seeds=0,1"], "seeds=0,1: write seeds=[0,1] for a list in one study, or -m seeds=0,1"),
        (["options.steps=8,16"], "write options.steps=[8,16] for a list in one study, or -m"),
        (["generator=pocket,ltx"], "=pocket,ltx: write -m generator=pocket,ltx for a run of each"),
        (["section", "4"], "section: write KEY=VALUE, without blanks around ="),
        (["batch", "=", "2"], "batch: write KEY=VALUE, without blanks around ="),
        (["--section=4"], "--section=4: write section=4, without dashes"),
        (["--video.seconds"], "--video.seconds: write video.seconds=VALUE, without dashes"),
        (["--foo=4"], "--foo=4: settings are KEY=VALUE; see --help"),
        (["name=für"], "name=für: put the value in quotes, and all in others: 'name=\"für\"'"),
        (["video.seconds=three"], "video.seconds=three: give a number"),
        (["preview=often"], "preview=often: give true or false"),
        (["metrics.backends=[foo]"], "metrics.backends: metric back-end 'foo' is unknown (known:"),
        (["stage=demo", "metrics.backends=[diss]"], "did you mean 'dis'?"),
        (["+metrics.bakends=[dis]"], "metrics has no key 'bakends' (known: name, backends, "),
        (["metrics.fraction=0.9"], "metrics.fraction is 0.9; it must be in (0, 0.5]"),
        (["metrics.backends=dis"], "metrics.backends=dis: give a list, [dis]"),
        (["stage=foo"], "choose from doctor, plan, generate"),
        (["bacth=2"], "did you mean batch?"),
        (["video.fsp=3"], "video.fsp: no such key; did you mean video.fps?"),
        (["generator.dtypes.vae=float32"], "if it is right, write +generator.dtypes.vae=..."),
        (["generator.step=8"], "does not name it; did you mean generator.steps? if it is right"),
        (["metrics.bakends=[dis]"], "did you mean metrics.backends?"),
        (["report.basline=a"], "did you mean report.baseline?"),
        (["arena.prt=1"], "did you mean arena.port?"),
        (["arena.sizing.powr=1"], "did you mean arena.sizing.power?"),
        (["batch=two"], "batch=two: give a whole number"),
        (["batch=0"], "batch=0: give 1 or more"),
        (["threads=-2"], "threads=-2: give 1 or more, or null"),
        (["time_limit=-5"], "time_limit=-5.0: give seconds from 0 on, or null"),
        (["device=gpu"], "device=gpu: give cpu, cuda or cuda:N; null chooses"),
        (["stage=score", "device=gpu"], "device=gpu: give cpu, cuda or cuda:N; null chooses"),
        (["+generator.device=gpu"], "generator.device: gpu: give cpu, cuda or cuda:N"),
        (["seeds=[a]"], "seeds=['a']"),
        (["seeds=true"], "seeds=True: give a whole number from 0 on, or a list of them"),
        (["variant=td_f16k4f2k2f1k1_h9"], "at character"),
        (["variant=td_f15k4f2k2f1k1_g9"], "f15k4"),
        (
            ["variant=td_f16k4f2k2f1k1_g9+D7"],
            "+D needs a codebook: give +generator.codebooks.7=FILE",
        ),
        (
            ["variant=td_f1k1_g9+D7", "+generator.codebooks.7=none.safetensors"],
            "generator.codebooks.7: none.safetensors: no such file",
        ),
        (
            ["stage=submit", "generator=framepack", "+ablation=sampling", "prompts=pocket"],
            "+D needs a codebook: give +generator.codebooks.K=FILE; none are configured",
        ),
        (["sampler=backwards"], "choose from vanilla, f1, anti_drifting"),
        (["packing=16k4"], "packing=16k4: at character 1 (16k4): expected a level such as f16k4"),
        (
            ["packing=f1k1f16k5"],
            "packing=f1k1f16k5: at character 9 (5): expected the kernel, one of",
        ),
        (["packing=f15k4"], "packing=f15k4: at character 1: level f15k4: k4 packs 4"),
        (["section=40"], "section=40: give 1 to 33 latent frames, or a list"),
        (["tail=[td,tx]"], "tail=tx: choose from td, ta, tc"),
        (["discrete=foo"], "discrete=foo: give a number of codes, 0 for"),
        (["options.stpes=8"], "options.stpes: no such option; did you mean options.steps? there"),
        (["options.steps=1.5"], "options.steps=1.5: option steps takes a whole number"),
        (
            [f"variant={VANILLA}", "sampler=inverted"],
            f"sampler=inverted: no effect beside variant={VANILLA}, whose name says it all; leave",
        ),
        (
            ["stage=plan", f"variant={VANILLA}", "section=9", "packing=f1k1", "discrete=16"],
            f"packing=f1k1, section=9, discrete=16: no effect beside variant={VANILLA}, ",
        ),
        (
            ["stage=plan", "+ablation=demo", "sampler=[vanilla,f1]"],
            f"sampler=[vanilla,f1]: no effect beside variant=[{VANILLA},...], ",
        ),
        (["stage=demo", "options.steps=4"], "options.steps=4: no effect beside variant=["),
        (["+ablation=order", f"variant={VANILLA}"], "sampler=[vanilla,inverted], options.order=["),
        (["variant=[]"], "variant=[]: give one or more"),
        (["section=[]"], "section=[]: give one or more"),
        (["options.steps=[]"], "options.steps=[]: give one or more"),
        (["video.height=100"], "not a multiple of 16"),
        (["video=framepack", "video.height=480"], "video.width=None: give both or neither"),
        (["video.crf=99"], "video.crf=99: give 0 (best) to 51"),
        (["video.preset=foo"], "video.preset=foo: choose from ultrafast, "),
        (["stage=plan", "video.fps=1e9"], "video.fps=1e+09: give 1 to 240"),
        (["video.fps=0.0001"], "video.fps=0.0001: give 1 to 240"),
        (["video.fps=0"], "video.fps=0.0: give a positive number"),
        (["video.seconds=-3"], "video.seconds=-3.0: give a positive number"),
        (["stage=plan", "video.seconds=nan"], "video.seconds=nan: give a positive number"),
        (["stage=plan", "video.seconds=1e9"], "video.seconds=1e+09: give at most 3600 (an hour)"),
        (["prompts.tags=[swim]"], "no swim; there are"),
        (["prompts.tags=swim"], "prompts.tags: no swim; there are"),
        (["prompts.ids=walk-77"], "prompts.ids: no walk-77; there are"),
        (["stage=report", "report.studies=other"], "no study there"),
        (["prompts.limit=-1"], "prompts.limit=-1: give a whole number from 1 on, or null"),
        (["prompts.limit=0"], "prompts.limit=0: give a whole number from 1 on, or null"),
        (["stage=report", "report.filmstrips=-1"], "report.filmstrips=-1: give a whole number"),
        (["stage=report", "report.filmstrips=abc"], "report.filmstrips=abc: give a whole number"),
        (["prompts=motion"], "name their folder"),
        (["prompts=file", "prompts.file=none.csv"], "none.csv: no such file"),
        (["prompts.file=none.csv"], "prompts.file=none.csv: no such file"),
        (["prompts=/nowhere/none.jsonl"], "prompts.file=/nowhere/none.jsonl: no such file"),
        (["prompts=none.yml"], "prompts.file=none.yml: no such file"),
        (["prompts=pockets.csv"], "pockets.csv: no such file; did you mean prompts=pocket?"),
        (["prompts=none.txt"], "prompts.file=none.txt: give a file that ends in .csv, "),
        (
            ["prompts=pocket", "prompts.file=a.csv"],
            "prompts.file=a.csv: prompts=pocket reads no file; write prompts=a.csv",
        ),
        (["generator.checkpoint=none"], "none"),
        (["generator.shift=abc"], "generator.shift: 'abc' is neither `released` nor a positive"),
        (["stage=plan", "generator.shift=inf"], "generator.shift: inf is not a positive number"),
        (["stage=submit", "generator.shift=nan"], "generator.shift: nan is not a positive number"),
        (["stage=submit", "generator.shift=abc"], "generator.shift: 'abc' is neither `released`"),
        (["video=3.5"], "video=3.5: video takes a name of a file in conf/video"),
        (["generator.shift=[1]"], "generator.shift: [1] is neither `released` nor a positive"),
        (
            ["generator=wan_i2v", "generator.shift=released"],
            "generator.shift: `released` is a rule",
        ),
        (
            ["generator=wan_i2v", "options.shift=released"],
            "option shift: `released` is a rule of Fram",
        ),
        (["stage=plan", "generator.steps=0"], "generator.steps: 0 is not a positive number"),
        (["stage=plan", "generator.cfg=inf"], "generator.cfg: inf is not a number from 0 on"),
        (["generator.guidance=-1"], "generator.guidance: -1 is not a number from 0 on"),
        (["generator.teacache=nan"], "generator.teacache: nan is not a number from 0 on"),
        (["stage=submit", "generator.cfg=true"], "generator.cfg: True is not a number"),
        (["stage=submit", "generator.shift=true"], "generator.shift: True is neither `released`"),
        (["options.cfg=inf"], "option cfg is at least 0, not inf"),
        (["options.noise=2"], "option noise is 0 to 1, not 2"),
        (["stage=submit", "options.shift=inf"], "option shift: 'inf' is neither `released` nor a"),
        (["generator=folder"], "generator.path: give the folder of the videos, generator.path="),
        (["generator=folder", "generator.path=none"], "no such folder"),
        (["stage=score", "study=none"], "no study there"),
        (["stage=score", "shard=9/8"], "shard='9/8' is not k/n with 1 ≤ k ≤ n"),
        (["stage=score", "shard=a"], "shard='a' is not k/n with 1 ≤ k ≤ n"),
        (["stage=demo", "shard=9/8"], "shard='9/8' is not k/n with 1 ≤ k ≤ n"),
        (["stage=work", "shard=x"], "shard='x' is not k/n with 1 ≤ k ≤ n"),
        (["stage=submit", "shard=0/2"], "shard='0/2' is not k/n with 1 ≤ k ≤ n"),
        (["stage=submit", "cluster.time=2h"], "cluster.time=2h: give minutes, minutes:seconds, "),
        (["stage=submit", "cluster.time=1-"], "cluster.time=1-: give minutes, minutes:seconds, "),
        (["stage=submit", "cluster.time=43200"], "cluster.time=43200: in minutes, 30 days"),
        (["hydra/launcher=slurm", "cluster.time=2h"], "cluster.time=2h: give minutes, "),
        (["stage=submit", "cluster.jobs=0"], "cluster.jobs=0: give 1 or more"),
        (["stage=submit", "cluster.cpus=0"], "cluster.cpus=0: give 1 or more"),
        (["stage=submit", "cluster.gpus=-1"], "cluster.gpus=-1: give 0 or more"),
        (["stage=submit", "cluster.parallel=0"], "cluster.parallel=0: give 1 or more, or null"),
        (["stage=submit", "cluster.memory=1.5G"], "cluster.memory=1.5G: give a whole number with"),
        (["hydra/launcher=slurm", "cluster.memory=xG"], "cluster.memory=xG: give a whole number"),
        (["stage=submit", "cluster.grace=-1"], "cluster.grace=-1: give 0 or more"),
        (["stage=submit", "cluster.grace=70000"], "cluster.grace=70000: give at most 65535"),
        (
            ["stage=submit", "cluster.time=00:02:00"],
            "cluster.grace=120: give less than cluster.time, 120 seconds",
        ),
        (["stage=status", "plan=true"], "plan=true: stage=status has no plan; stage=arena and "),
        (["plan=true"], "plan=true: stage=generate has no plan; stage=arena and stage=submit have"),
        (["stage=submit", "cluster.stages=[foo]"], "cluster.stages: no foo; choose from generate"),
        (["stage=submit", "cluster.stages=[]"], "cluster.stages=[]: give one or more of generate"),
        (["stage=status", "study=none"], "no study there"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_leaves_no_cells(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_bench.py", "study=study", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_bench.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert len(said.splitlines()) == 1, said
    assert said.startswith("error: ")
    assert "raised while" not in said
    assert says in said
    assert not (tmp_path / "study" / "cells").exists()


@pytest.mark.parametrize(
    ("preset", "says"),
    [
        (
            "name: own\n  variant: null\n",
            "own.yaml: line 3: not YAML (mapping values are not allowed",
        ),
        ("name: own\n\tvariant: null\n", "own.yaml: line 3: not YAML (found character '\\t' that"),
        ("name: own\nname: own\n", "own.yaml: line 3: duplicate key name"),
        ("prompts: {limits: 2}\n", "prompts.limits: no such key; did you mean prompts.limit?"),
        ("samplers: vanilla\n", "ablation/own.yaml: samplers: no such key; did you mean sampler?"),
        ("video: {seconds: three}\n", "ablation/own.yaml: video.seconds=three: give a number"),
        ("- name: own\n", "ablation/own.yaml: give KEY: VALUE lines"),
        (None, "ablation/own.yaml: its first line must be `# @package _global_`"),
    ],
)
def test_a_mistake_in_ones_own_preset_is_one_line(
    preset: str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "name: own\n" if preset is None else f"# @package _global_\n{preset}"
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / "own.yaml").write_text(text)
    words = ["stage=plan", "+ablation=own", "--config-dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["run_bench.py", *words])
    with pytest.raises(SystemExit) as stopped:
        run_bench.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert len(said.splitlines()) == 1, said
    assert says in said
