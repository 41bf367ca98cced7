"""The pocket checkpoint: a procedural world and a small FramePack model that is trained on it."""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The committed model folder: `model_index.json` and nine components, in diffusers' layout."""

SIZE = 96
"""Height and width of the pocket world's frames, in pixels."""

FPS = 16
"""Frames per second of the pocket world."""
