"""dctnet lab learning-order: which frequency bands a network learns to use first."""
