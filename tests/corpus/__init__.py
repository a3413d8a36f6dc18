"""Every kind of input file, made from nothing, and what becomes of each: one outcome for each reader."""
