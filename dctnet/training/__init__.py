"""Training with PyTorch Lightning: module, callbacks, checkpoints, resumption, preemption."""
