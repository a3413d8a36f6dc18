"""Image files to upright YCbCr planes: parsing, decoding, error handling."""
