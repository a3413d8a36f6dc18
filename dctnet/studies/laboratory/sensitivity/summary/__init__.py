"""One page across the sensitivity studies of several networks, with intervals over their seeds and images."""
