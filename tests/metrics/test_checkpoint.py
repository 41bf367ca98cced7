"""Published checkpoints are read whatever training left in them, and run no code."""

import argparse
import fractions
import os

import numpy as np
import pytest
import safetensors.torch
import torch

from metrics.checkpoint import Inert, read_checkpoint, state_dict
from metrics.errors import Unavailable


class Bomb:
    """Asks the reader to run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def checkpoint(**more):
    network = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return network, {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": argparse.Namespace(depth=12, names=["a"]),
        "max_accuracy": np.float64(0.5),
        "epoch": np.int64(29),
        "rng": np.random.default_rng(0),
        "ratio": fractions.Fraction(1, 3),
        **more,
    }


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_from_a_checkpoint_full_of_other_things(tmp_path, zipped):
    network, content = checkpoint()
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    state = state_dict(tmp_path / "c.pth", "model")
    assert list(state) == ["weight", "bias"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
    assert isinstance(read_checkpoint(tmp_path / "c.pth")["config"], Inert)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_cannot_run_code(tmp_path, zipped):
    _, content = checkpoint(bomb=Bomb(tmp_path / "exploded"))
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    state_dict(tmp_path / "c.pth", "model")
    assert not (tmp_path / "exploded").exists()


def test_half_and_integer_tensors_and_parameters_keep_their_types(tmp_path):
    content = {
        "half": torch.ones(2, dtype=torch.float16),
        "table": torch.arange(4),
        "module.weight": torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
    }
    torch.save(content, tmp_path / "c.pth")
    state = state_dict(tmp_path / "c.pth")
    assert [value.dtype for value in state.values()] == [torch.float16, torch.int64, torch.bfloat16]
    assert "weight" in state


def test_a_missing_entry_and_a_web_page_are_told_in_one_line(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(Unavailable, match="no state dict under 'model'"):
        state_dict(tmp_path / "c.pth", "model")
    with pytest.raises(Unavailable, match="no state dict"):
        state_dict(tmp_path / "c.pth")
    safetensors.torch.save_file({"weight": torch.ones(9)}, tmp_path / "cut.safetensors")
    cut = (tmp_path / "cut.safetensors").read_bytes()[:-5]
    (tmp_path / "cut.safetensors").write_bytes(cut)
    with pytest.raises(Unavailable, match=r"cut\.safetensors cannot be read"):
        state_dict(tmp_path / "cut.safetensors")
    (tmp_path / "page.pth").write_text("<!doctype html>")
    with pytest.raises(Unavailable, match="cannot be read"):
        state_dict(tmp_path / "page.pth")
