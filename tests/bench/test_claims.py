"""Leases: one worker has a piece of work, dead ones are found, and nobody takes it twice."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

from bench.claims import NAME_LIMIT, Worker, file_name, read_claims
from bench.processes import Process


def abandon(folder: Path, *work: str, process: str | None = None) -> None:
    """Leave claims behind as a killed process does; as one of another machine if it is named."""
    program = (
        "import os, sys; from pathlib import Path; from bench.claims import Worker\n"
        "worker = Worker(Path(sys.argv[1])).__enter__(); assert worker.claim(sys.argv[2:])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder), *work], check=False)
    if process is not None:
        for path in folder.iterdir():
            path.write_text(path.read_text().replace(str(Process.parse(path.read_text())), process))


def test_a_claim_is_had_once(tmp_path: Path) -> None:
    with Worker(tmp_path / "claims") as one, Worker(tmp_path / "claims") as two:
        assert one.claim(["generate/v/p_0", "generate/v/p_1"])
        assert not two.claim(["generate/v/p_2", "generate/v/p_1"])
        assert two.claim(["generate/v/p_2"])  # nothing was kept of the refused claim
        assert one.held("generate/v/p_0")
        one.release(["generate/v/p_1"])
        assert two.claim(["generate/v/p_1"])
    assert not (tmp_path / "claims").exists()


def test_sixteen_threads_never_share_a_claim(tmp_path: Path) -> None:
    folder, working, twice = tmp_path / "claims", set[str](), list[str]()
    made = dict.fromkeys((f"generate/v/p_{n}" for n in range(40)), 0)

    def work() -> None:
        with Worker(folder) as worker:
            for name in made:
                if worker.claim([name]):
                    if name in working:
                        twice.append(name)
                    working.add(name)
                    time.sleep(0.001)
                    made[name] += 1
                    working.discard(name)
                    worker.release([name])

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not twice
    assert all(made.values())


def test_the_claim_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    abandon(tmp_path / "claims", "generate/v/p_0")
    assert [claim.alive for claim in read_claims(tmp_path / "claims")] == [False]
    with Worker(tmp_path / "claims") as worker:
        assert worker.claim(["generate/v/p_0"])
        assert worker.held("generate/v/p_0")
    assert not (tmp_path / "claims").exists()


def test_claims_that_nobody_will_ever_need_again_are_buried(tmp_path: Path) -> None:
    abandon(tmp_path / "claims", "generate/v/finished_0")
    with Worker(tmp_path / "claims") as worker:
        assert worker.claim(["generate/v/p_0"])
    assert not (tmp_path / "claims").exists()


def test_of_many_exactly_one_takes_a_dead_claim_over(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    for _ in range(5):
        abandon(folder, "generate/v/p_0")
        workers = [Worker(folder) for _ in range(8)]
        for worker in workers:
            worker.__enter__()
        winners: list[Worker] = []

        def take(worker: Worker, winners: list[Worker] = winners) -> None:
            if worker.claim(["generate/v/p_0"]):
                winners.append(worker)

        threads = [threading.Thread(target=take, args=(worker,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        for worker in workers:
            worker.__exit__(None, None, None)


def test_another_machine_is_dead_when_its_lease_is_over(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    abandon(folder, "generate/v/p_0", process="00000000-1-1")
    with Worker(folder, lease=30) as worker:
        assert not worker.claim(["generate/v/p_0"])
        old = time.time() - 31
        os.utime(folder / "generate@v@p_0@1", (old, old))
        assert worker.claim(["generate/v/p_0"])


def test_a_worker_that_slept_through_its_lease_notices(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Worker(folder) as sleeper, Worker(folder, lease=30) as worker:
        assert sleeper.claim(["generate/v/p_0"])
        old = time.time() - 31
        os.utime(folder / "generate@v@p_0@1", (old, old))
        assert worker.claim(["generate/v/p_0"])
        assert not sleeper.held("generate/v/p_0")
        sleeper.release(["generate/v/p_0"])
        assert worker.held("generate/v/p_0")


def silence(claim: Path) -> None:
    """Let a claim look as if its worker had not touched it for 31 s."""
    old = time.time() - 31
    os.utime(claim, (old, old))


def test_a_release_after_a_takeover_leaves_the_row_to_its_new_owner(tmp_path: Path) -> None:
    folder, name = tmp_path / "claims", "generate/v/p_0"
    abandon(folder, name)
    with Worker(folder, lease=30) as sleeper, Worker(folder, lease=30) as owner:
        assert sleeper.claim([name])
        silence(folder / "generate@v@p_0@2")
        assert owner.claim([name])
        sleeper.release([name])
        with Worker(folder, lease=30) as other:
            assert not other.claim([name])
            assert owner.held(name)
            owner.release([name])
            assert other.claim([name])
    assert not folder.exists()


def test_a_release_after_the_work_has_gone_from_hand_to_hand_removes_nobody_s_claim(
    tmp_path: Path,
) -> None:
    folder, name = tmp_path / "claims", "generate/v/p_0"
    with Worker(folder) as sleeper, Worker(folder, lease=30) as other, Worker(folder) as owner:
        assert sleeper.claim([name])
        silence(folder / "generate@v@p_0@1")
        assert other.claim([name])
        other.release([name])
        assert owner.claim([name])  # generation 1 again, of somebody else
        assert not sleeper.held(name)
        sleeper.release([name])
        assert owner.held(name)


def test_what_a_crash_in_a_release_leaves_is_climbed_over(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    abandon(folder, "generate/v/p_0")
    (folder / "generate@v@p_0@1").rename(folder / "generate@v@p_0@2")
    with Worker(folder) as one, Worker(folder) as two:
        assert one.claim(["generate/v/p_0"])
        assert one.held("generate/v/p_0")
        assert not two.claim(["generate/v/p_0"])


def test_an_interruption_between_making_a_claim_and_noting_it_leaves_none(tmp_path: Path) -> None:
    take = Worker._take

    def interrupted(worker: Worker, stem: str) -> int:
        take(worker, stem)
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        Worker(tmp_path / "claims") as worker,
        mock.patch.object(Worker, "_take", interrupted),
    ):
        worker.claim(["a"])
    assert not (tmp_path / "claims").exists()


def test_an_interruption_of_a_release_leaves_no_claim(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Worker(tmp_path / "claims") as worker:
        assert worker.claim(["a"])
        with mock.patch.object(Worker, "_remove", side_effect=KeyboardInterrupt):
            worker.release(["a"])
    assert not (tmp_path / "claims").exists()


def test_the_heartbeat_keeps_all_claims_alive(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Worker(folder, lease=0.3) as worker:
        assert worker.claim(["generate/v/p_0", "generate/v/p_1"])
        paths = [folder / f"generate@v@p_{number}@1" for number in (0, 1)]
        first = [path.stat().st_mtime_ns for path in paths]
        while any(path.stat().st_mtime_ns == old for path, old in zip(paths, first, strict=True)):
            time.sleep(0.01)


def test_a_worker_that_was_buried_alive_signs_again(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    with Worker(folder) as sleeper:
        assert sleeper.claim(["generate/v/p_0"])
        for path in folder.iterdir():
            path.unlink()
        assert not sleeper.held("generate/v/p_0")
        assert sleeper.claim(["generate/v/p_1"])
        assert sleeper.held("generate/v/p_1")
    assert not folder.exists()


def test_who_takes_a_dead_claim_over_hears_of_it_before_anybody_else_can(tmp_path: Path) -> None:
    folder, heard = tmp_path / "claims", list[str]()
    abandon(folder, "generate/v/p_0", "score/v/p_1")
    with Worker(folder, inherit=heard.append) as worker:
        assert worker.claim(["generate/v/p_0", "generate/v/p_2"])
        assert heard == ["generate@v@p_0"]
    assert heard == ["generate@v@p_0", "score@v@p_1"]


def test_without_hard_links_the_rules_are_the_same(tmp_path: Path, monkeypatch: object) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)  # type: ignore[attr-defined]
    test_a_claim_is_had_once(tmp_path / "once")
    test_the_heartbeat_keeps_all_claims_alive(tmp_path / "beat")


def test_long_names_stay_unambiguous_and_fit() -> None:
    one, two = (f"generate/{'f16k4' * 60}/{name}" for name in ("a_0", "b_0"))
    assert len(file_name(one)) <= NAME_LIMIT
    assert file_name(one) != file_name(two)
