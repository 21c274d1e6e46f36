"""Loading, running and measuring: the only place that imports torch, transformers, accelerate."""
