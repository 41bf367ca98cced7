"""The codebook of +D: K-means finds what is there, and the command writes what +D reads."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ablations.variant import TABLE_1, parse
from bench import codebook
from bench.errors import UserError
from bench.generators import framepack
from bench.history import Discrete
from bench.rollout import Rollout, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import LATENT_CHANNELS, picture


def test_k_means_finds_planted_clusters() -> None:
    rng = torch.Generator().manual_seed(0)
    centres = torch.tensor([[10.0, 0], [0, 10], [-10, 0], [0, -10]])
    sizes = (400, 300, 200, 100)
    pixels = torch.cat(
        [c + 0.1 * torch.randn(n, 2, generator=rng) for c, n in zip(centres, sizes, strict=True)]
    )
    found = codebook.k_means(pixels, 4)
    assert torch.allclose(found, centres, atol=0.1), "and the most frequent comes first"
    assert torch.equal(found, codebook.k_means(pixels, 4)), "from a seed"


def test_one_code_is_the_mean_and_many_codes_change_little() -> None:
    pixels = torch.randn(4000, 3, generator=torch.Generator().manual_seed(1))
    history = pixels[:120].view(1, 2, 6, 10, 3).movedim(-1, 1)
    errors = []
    for k in (1, 4, 64, 1024):
        changed = Discrete(codebook.k_means(pixels, k))(history, [])
        errors.append(float((changed - history).square().mean()))
    one = Discrete(codebook.k_means(pixels, 1))(history, [])
    assert len(one.movedim(1, -1).reshape(-1, 3).unique(dim=0)) == 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


@pytest.mark.parametrize(("codes", "words"), [(0, "not 1 to 1024"), (8, "there are 5")])
def test_wrong_numbers_of_codes_are_named(codes: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        codebook.k_means(torch.randn(5, 2), codes)


def test_pixels_that_are_all_the_same_give_that_code() -> None:
    assert torch.equal(codebook.k_means(torch.ones(9, 2), 3), torch.ones(3, 2))


def test_the_command_makes_a_codebook_with_which_every_named_variant_runs(
    tiny: Path, tmp_path: Path, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "codes.safetensors"
    clip = str(media / "single_face.mp4")
    arguments = [str(out), clip, "--checkpoint", str(tiny), "--codes", "8"]
    assert codebook.main([*arguments, "--height", "32", "--width", "48"]) == 0
    assert "8 codes from" in capsys.readouterr().out
    codes = load_file(out)["codes"]
    assert codes.shape == (8, LATENT_CHANNELS)
    with safe_open(out, "pt") as opened:
        assert opened.metadata()["digest"] == codebook.digest(codes)
    options: dict[str, Any] = {"checkpoint": str(tiny), "device": "cpu", "steps": 1}
    generator = framepack.build(options | {"codebooks": {"8": str(out)}})
    from bench.generators.base import Request

    for name in (n for n in TABLE_1 if "+D" in n):
        variant = parse(name)
        made = plan(variant, height=32, width=48, sections=2)
        (found,) = rollout(generator, variant, made, [Request("p", "a person", picture(), 0)])
        assert isinstance(found, Rollout)
        assert found.record["tokens_per_section"] == made.tokens_per_section
        assert "+D" in found.record["untrained"]
        assert found.record["generator"]["codebook"] == f"K=8 {codebook.digest(codes)}"


def test_the_command_needs_the_autoencoder_alone(
    tiny: Path, tmp_path: Path, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pocket = Path(codebook.__file__).parent / "pocket" / "checkpoint"
    for checkpoint in (tiny, pocket):
        alone = tmp_path / checkpoint.parent.name / "alone"
        shutil.copytree(checkpoint / "vae", alone / "vae")
        codes = []
        for place in (checkpoint, alone):
            out = tmp_path / "codes.safetensors"
            command = [str(out), str(media / "single_face.mp4"), "--checkpoint", str(place)]
            assert codebook.main([*command, "--codes", "4", "--height", "32", "--width", "48"]) == 0
            with safe_open(out, "pt") as opened:
                codes.append((opened.get_tensor("codes").tolist(), opened.metadata()))
        assert codes[0] == codes[1]
    empty = ["--checkpoint", str(tmp_path)]
    assert codebook.main([str(tmp_path / "codes"), str(media), *empty]) == 2
    assert f"error: checkpoint: {tmp_path} cannot be loaded" in capsys.readouterr().err


def test_a_codebook_may_be_named_by_a_number(tiny_generator: Any, tmp_path: Path) -> None:
    """As `+generator.codebooks={8: FILE}` gives it."""
    codebook.save(tmp_path / "codes", torch.zeros(8, LATENT_CHANNELS), {})
    generator = tiny_generator(codebooks={8: str(tmp_path / "codes")})
    treatment = generator.history_treatment(parse("td_f1k1_g3+D8"))
    assert isinstance(treatment, Discrete)
    with pytest.raises(UserError, match=r"codebooks\.16=FILE; there are 8$"):
        generator.history_treatment(parse("td_f1k1_g3+D16"))


def test_a_codebook_of_another_autoencoder_is_refused(
    tiny: Path, tiny_generator: Any, tmp_path: Path
) -> None:
    path, codes = tmp_path / "codes.safetensors", torch.zeros(4, LATENT_CHANNELS)
    generator = tiny_generator(codebooks={"4": str(path)})
    codebook.save(path, codes, {"autoencoder": codebook.autoencoder_digest(str(tiny))})
    assert isinstance(generator.history_treatment(parse("td_f1k1_g3+D4")), Discrete)
    codebook.save(path, codes, {"autoencoder": "0" * 16})
    with pytest.raises(UserError, match=r"codebooks\.4: .* made with another autoencoder"):
        generator.history_treatment(parse("td_f1k1_g3+D4"))


def test_the_pocket_models_codebooks_belong_to_its_autoencoder() -> None:
    folder = Path(codebook.__file__).parent / "pocket"
    autoencoder = codebook.autoencoder_digest(str(folder / "checkpoint"))
    books = sorted((folder / "codebooks").glob("codes-*.safetensors"))
    assert len(books) == 6
    for book in books:
        with safe_open(book, "pt") as opened:
            codes, about = opened.get_tensor("codes"), opened.metadata()
        assert len(codes) == int(book.stem.removeprefix("codes-"))
        assert about["digest"] == codebook.digest(codes)
        assert about["autoencoder"] == autoencoder, (
            f"rebuild: python -m bench.codebook {book.name} {about['videos']} "
            f"--checkpoint bench/pocket/checkpoint --codes {len(codes)}"
        )


def test_the_command_says_what_is_wrong_in_one_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, nowhere = str(tmp_path / "o.safetensors"), str(tmp_path / "nowhere")
    assert codebook.main([out, nowhere, "--checkpoint", str(tiny)]) == 2
    assert codebook.main([out, str(tiny), "--checkpoint", str(tiny)]) == 2
    assert codebook.main([out, nowhere, "--checkpoint", str(tiny), "--codes", "0"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["videos", "videos", "codes"]
