"""The memory rules of each engine, one file per engine."""
