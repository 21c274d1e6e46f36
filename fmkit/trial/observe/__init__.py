"""What the checks need to see of a model beyond its answer: one file for each thing that is asked. The judging is in `fmkit/trial/checks/`."""
