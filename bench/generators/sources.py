"""Where weights are: a folder, a file, or what the hub's cache keeps of an id."""

from pathlib import Path


def local_folder(source: str) -> Path | None:
    """The place of a source: itself, or where the hub's files are kept; None if not there.

    Args:
        source: a folder, a file, or a hub id, of which the cache need not hold all files.
    """
    if Path(source).exists():
        return Path(source)
    from huggingface_hub import constants

    kept = Path(constants.HF_HUB_CACHE, f"models--{source.replace('/', '--')}")
    try:
        folder = kept / "snapshots" / (kept / "refs" / "main").read_text("utf-8").strip()
    except OSError:
        return None
    return folder if folder.is_dir() else None
