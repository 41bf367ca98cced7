"""An arena in a process of its own, which tests may kill at any moment.

`python -m tests.ablations.arena.serving JSON` serves the configuration JSON holds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class Server:
    """One arena's process; `kill` is SIGKILL, `start` starts it again."""

    def __init__(self, study: Path, port: int, arena: Mapping[str, Any]) -> None:
        self.study = study
        self.port = port
        self.config = {"study": str(study), "arena": {**arena, "port": port}}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = study.parent / f"{study.name}.log"

    def start(self, timeout: float = 180.0) -> None:
        """Start and wait until it says that raters may come."""
        said = self.log.stat().st_size if self.log.exists() else 0
        command = [sys.executable, "-m", "tests.ablations.arena.serving", json.dumps(self.config)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            if b"raters: " in self.log.read_bytes()[said:]:
                return
            time.sleep(0.02)
        raise TimeoutError(self.log.read_text())

    def kill(self) -> None:
        """SIGKILL: no goodbye, no flush."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)  # a busy machine takes its time
            except subprocess.TimeoutExpired:
                self.kill()


if __name__ == "__main__":
    from ablations import arena

    arena.serve(json.loads(sys.argv[1]))
