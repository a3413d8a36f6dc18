"""Image classifiers on block-DCT frequency channels, and the channels worth keeping."""

__version__ = "0.1.0"
