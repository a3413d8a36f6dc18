"""dctnet explain: what a network sees in one photograph, as a page."""
