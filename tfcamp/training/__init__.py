"""The training loop: strategies, steps, optimizers, checkpoints, and what surrounds it."""
