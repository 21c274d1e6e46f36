"""The peak of a model's activations from a trace without weights: the real implementation, run with tensors that have no memory."""
