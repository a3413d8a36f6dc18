"""The packed channel store: a data set as kept channels, in integers, read without decoding."""
