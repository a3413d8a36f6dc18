"""dctnet lab gate-causes: does a gate prefer low frequencies, and because of what?"""
