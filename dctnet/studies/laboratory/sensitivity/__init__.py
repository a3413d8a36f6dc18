"""Which frequencies a network relies on: its answers when bands, channels, signs or phases are changed."""
