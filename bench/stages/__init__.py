"""What each stage of `run_bench.py` does: `run(cfg, ...) -> exit status`."""
