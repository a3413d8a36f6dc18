"""Frequency channels: block DCT, color conversion, resampling in the DCT domain, channel sets and mask files."""
