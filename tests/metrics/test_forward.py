"""Forwards run side by side and still answer in order, in groups of one size."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from metrics import registry, unweighted, weights
from metrics.forward import Forwards, in_parallel, side_by_side, whole_frames


@pytest.fixture
def workers():
    """This thread's forwards run on three workers."""
    with ThreadPoolExecutor(3) as pool:
        in_parallel(pool)
        yield pool
        in_parallel(None)


class Slow:
    """Doubles what it is given; early groups take longest, so that later ones overtake them."""

    def __init__(self):
        self.groups = 0
        self.under_way = 0
        self.most = 0
        self._lock = threading.Lock()

    def __call__(self, group):
        with self._lock:
            self.groups += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            wait = 0.02 / self.groups
        time.sleep(wait)
        with self._lock:
            self.under_way -= 1
        return 2 * group


def answers(forwards, count):
    found = [pair for key in range(count) for pair in forwards.put(key, np.array([key]))]
    return found + list(forwards.rest())


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_answers_come_back_in_order_whoever_is_first(workers, size, at_once):
    slow = Slow()
    found = answers(Forwards(size, slow, at_once=at_once), 14)
    assert [(key, int(value[0])) for key, value in found] == [(key, 2 * key) for key in range(14)]
    assert slow.most <= at_once
    assert slow.groups == -(-14 // size)


def test_without_workers_each_group_is_answered_when_it_is_full():
    forwards = Forwards(2, lambda group: group + 1)
    assert list(forwards.put("a", np.array([1.0]))) == []
    assert [key for key, _ in forwards.put("b", np.array([2.0]))] == ["a", "b"]


def test_what_a_network_raises_on_a_worker_is_raised_where_answers_are_taken(workers):
    def broken(group):
        raise ZeroDivisionError("no")

    with pytest.raises(ZeroDivisionError):
        answers(Forwards(1, broken), 9)


def test_work_side_by_side_keeps_its_order(workers):
    assert side_by_side(lambda number: number**2, range(9)) == [n**2 for n in range(9)]


def test_in_a_gpu_run_the_cpus_work_is_shared_out_and_the_gpus_stays_in_one_thread():
    def where(item):
        return np.full(len(item) if np.ndim(item) else 1, threading.get_ident())

    def threads(forwards):
        return {int(thread) for _, thread in answers(forwards, 5)}

    here = {threading.get_ident()}
    with ThreadPoolExecutor(3) as pool:
        in_parallel(pool, "cuda:1")
        assert threads(Forwards(1, where)) == here
        assert threads(Forwards(1, where, device="cuda:1")) == here
        assert not threads(Forwards(1, where, device="cpu")) & here
        assert {int(one[0]) for one in side_by_side(where, range(5), "cuda:1")} == here
        assert not {int(one[0]) for one in side_by_side(where, range(5))} & here
        in_parallel(None)


def test_whole_frames_share_a_forward_on_a_gpu_and_run_side_by_side_on_a_cpu():
    shapes = []

    def network(group):
        shapes.append(len(group))
        return group

    answers(whole_frames(network, 4, "cuda"), 5)
    answers(whole_frames(network, 4, "cpu"), 2)
    assert shapes == [4, 4, 1, 1]


def test_networks_without_weights_are_for_measuring_only():
    get = weights.get
    with unweighted.networks(small=True):
        metric = registry.build("dino-b16")
        metric.load("cpu")
        assert len(metric.network.blocks) == 1
    assert weights.get is get
    assert set(unweighted.BACKENDS) < set(registry.BACKENDS)
