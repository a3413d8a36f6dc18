"""From frequency channels to logits: gates, stem-less backbones, the classifier."""
