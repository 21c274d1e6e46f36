"""The parts of benchmarks/exactness.py, one per file: each has a `prove()` that measures and returns a Proof."""
