"""What a frequency channel is: the block DCT, colour conversion, and named channel sets."""
