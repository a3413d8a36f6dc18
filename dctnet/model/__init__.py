"""Plain PyTorch modules from frequency channels to logits: normalisation, gates, backbones, the network."""
