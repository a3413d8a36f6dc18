"""One image file to YCbCr planes."""
