"""What a model is: layers with their cache, tensors, precisions; `architectures` reads a config.json into it."""
