"""Memory of one training step: weights, gradients, optimiser states, activations, and the peak over the step's moments."""
