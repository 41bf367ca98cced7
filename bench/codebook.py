"""Build the codebook of +D: K-means over the latent pixels of any set of videos.

    python -m bench.codebook OUT.safetensors VIDEOS... --checkpoint DIR --codes 256
    python -m bench.codebook OUT.safetensors pocket:64 --checkpoint bench/pocket/checkpoint

A history made discrete can carry only K colours per latent pixel: K = 1 is one colour, a large K
changes nothing. The file holds `codes` [K, channels] and says in its metadata what it was made of.
Name it in the generator's configuration: `+generator.codebooks.256=OUT.safetensors`.

Source: arXiv 2504.12626 v3, history discretisation.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import UserError

MOST_CODES: Final = 1024
PER_CODE: Final = 256
"""Pixels sampled per code: more changes the codes by less than their distance."""

CHUNK: Final = 33
"""Pixel frames encoded at once (1 + 4k): what the autoencoders were trained on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read videos, encode them, cluster, write."""
    parser = argparse.ArgumentParser(description="Build a codebook for +D from videos.")
    parser.add_argument("out", type=Path, help="the safetensors file that is written")
    parser.add_argument(
        "videos", nargs="+", help="video files, folders of them, or pocket:N for N rendered clips"
    )
    parser.add_argument("--checkpoint", required=True, help="folder or hub id with the autoencoder")
    parser.add_argument("--codes", type=int, default=256, help="K, 1 to 1024")
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--width", type=int, default=832)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        check_codes(options.codes)
        clips = find_clips(options.videos, options.height, options.width)
        pixels = latent_pixels(autoencoder(options.checkpoint), clips)
        codes = k_means(pixels, options.codes, seed=options.seed)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    about = {
        "videos": " ".join(map(_named, options.videos)),
        "seed": str(options.seed),
        "autoencoder": autoencoder_digest(options.checkpoint),
    }
    save(options.out, codes, about)
    print(f"{options.out}: {len(codes)} codes from {len(pixels)} latent pixels, {digest(codes)}")
    return 0


def check_codes(codes: int) -> None:
    """Raises UserError unless K is 1 to 1024."""
    if not 1 <= codes <= MOST_CODES:
        raise UserError(f"codes: {codes} is not 1 to {MOST_CODES}")


def k_means(pixels: Tensor, codes: int, *, seed: int = 0, rounds: int = 25) -> Tensor:
    """Lloyd's algorithm from k-means++ seeds on a sample of the pixels.

    Args:
        pixels: [n, channels], n ≥ K.
        codes: K.
        seed: of the sample and of the first centres.
        rounds: how often centres move; they stop earlier when nothing changes.

    Returns:
        Codes [K, channels], ordered by how many pixels they stand for, most first.

    Raises:
        UserError: K is outside 1..1024, or there are fewer pixels than codes.
    """
    check_codes(codes)
    if len(pixels) < codes:
        raise UserError(f"codes: {codes} codes need as many latent pixels, there are {len(pixels)}")
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(pixels), generator=rng)[: codes * PER_CODE]
    sample = pixels[chosen].float().cpu()
    centres = _spread(sample, codes, rng)
    counts = torch.zeros(codes)
    for _ in range(rounds):
        nearest = torch.cdist(sample, centres).argmin(1)
        counts = torch.bincount(nearest, minlength=codes).float()
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
        # A centre that no pixel is nearest to stays where it was.
        moved = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres[counts.argsort(descending=True, stable=True)]


def _spread(sample: Tensor, codes: int, rng: torch.Generator) -> Tensor:
    """k-means++: each first centre is drawn with the squared distance to those before it."""
    first = int(torch.randint(len(sample), (1,), generator=rng))
    centres = [sample[first]]
    distance = (sample - centres[0]).square().sum(1)
    while len(centres) < codes:
        if float(distance.sum()) == 0:  # fewer different pixels than codes
            centres.append(sample[0])
            continue
        centres.append(sample[int(torch.multinomial(distance, 1, generator=rng))])
        distance = torch.minimum(distance, (sample - centres[-1]).square().sum(1))
    return torch.stack(centres)


def autoencoder(checkpoint: str) -> Any:
    """The checkpoint's autoencoder, where and in the type that a generator would have it."""
    from bench.generators.checkpoint import DTYPES, load_autoencoder
    from bench.generators.options import device_name, dtype_name

    device = device_name(None)
    return load_autoencoder(checkpoint, DTYPES[dtype_name("dtype", "auto", device)]).to(device)


def latent_pixels(vae: Any, clips: Iterable[Tensor]) -> Tensor:
    """All latent pixels [n, channels] of clips [3, T, H, W] in −1..1, T = 1 + 4k."""
    found = []
    with torch.inference_mode():
        for clip in clips:
            posterior = vae.encode(clip[None].to(vae.device, vae.dtype)).latent_dist
            latents = posterior.mode()[0].float() * vae.config.scaling_factor
            found.append(latents.flatten(1).T.cpu())
    if not found:
        raise UserError("videos: none of them has a frame")
    return torch.cat(found)


def find_clips(sources: Sequence[str], height: int, width: int) -> Iterator[Tensor]:
    """Clips [3, 1+4k, H, W] in −1..1 of all sources.

    Raises:
        UserError: a source does not exist or is no number of rendered clips.
    """
    files: list[Path] = []
    for source in sources:
        kind, _, count = source.partition(":")
        if kind != "pocket":
            files.append(Path(source))
        elif count.isdecimal() and int(count):
            yield from rendered_clips(int(count))
        else:
            raise UserError(f"videos: {source}: give pocket:N with N from 1 on")
    if files:
        yield from read_clips(find_videos(files), height, width)


def rendered_clips(count: int) -> Iterator[Tensor]:
    """Training clips of the pocket world, at its own size."""
    from bench.pocket.latents import TRAINING
    from bench.pocket.render import render
    from bench.pocket.world import sample_scene

    for number in range(count):
        frames = render(sample_scene(TRAINING + number), CHUNK)
        yield frames.permute(1, 0, 2, 3).float() / 127.5 - 1


def _named(source: str) -> str:
    """A source without the folders of one machine."""
    return Path(source).name


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Video files, and those in folders, sorted.

    Raises:
        UserError: a path does not exist, or there is no video in them.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"videos: {path}: no such file or folder")
        found += sorted(path.rglob("*.mp4")) if path.is_dir() else [path]
    if not found:
        raise UserError(f"videos: no .mp4 in {', '.join(map(str, paths))}")
    return found


def read_clips(videos: Iterable[Path], height: int, width: int) -> Iterator[Tensor]:
    """Clips [3, 1+4k, H, W] in −1..1 of every video, resized."""
    import av
    import numpy as np

    for video in videos:
        frames: list[Any] = []
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                frames.append(frame.reformat(width, height, "rgb24").to_ndarray())
        for first in range(0, len(frames), CHUNK):
            part = frames[first : first + CHUNK]
            part = part[: (len(part) - 1) // 4 * 4 + 1]
            pixels = torch.from_numpy(np.stack(part)).permute(3, 0, 1, 2)
            yield pixels.float() / 127.5 - 1


def save(path: Path, codes: Tensor, about: dict[str, str]) -> None:
    """Write a codebook with its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"codes": codes.contiguous()}, path, {**about, "digest": digest(codes)})


def autoencoder_digest(checkpoint: str) -> str:
    """16 hex digits of the autoencoder's weights: codes are only worth something with these."""
    from bench.generators.sources import local_folder

    total = hashlib.sha256()
    folder = local_folder(checkpoint)
    for file in sorted((folder / "vae").glob("*.safetensors")) if folder else []:
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


def digest(codes: Tensor) -> str:
    """16 hex digits of the codes' bytes."""
    return hashlib.sha256(codes.cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
