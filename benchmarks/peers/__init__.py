"""Other tools, each run in an environment of its own: a script per tool, which imports nothing of fmkit."""
