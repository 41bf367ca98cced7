"""`run_bench.py` with videos of noise instead of a model's, so that hundreds of jobs cost little.

Stands where a container's command stands: `python worker.py PYTHON run_bench.py stage=work ...`.
Everything but the model is the real thing: Hydra, claims, signals, exit status.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import run_bench  # noqa: E402
from bench.stages import generate  # noqa: E402
from tests.bench.sweeping import Noise  # noqa: E402


def main() -> None:
    """Run the rest of the command line."""
    pause = float(os.environ.get("SECONDS_PER_SECTION", "0.1"))
    generate.maker = lambda *arguments: lambda: Noise(pause)
    if "run_bench.py" in " ".join(sys.argv[1:3]):
        sys.argv = sys.argv[2:]
    run_bench.main()


if __name__ == "__main__":
    main()
