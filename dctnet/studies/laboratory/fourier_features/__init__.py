"""dctnet lab fourier-features: how a mapping of coordinates chooses the bandwidth of a network (Tancik et al. 2020).

mappings.py has the mappings, image.py fits a photograph, kernel.py the neural tangent kernel on one dimension,
dynamics.py compares its prediction with a training, noise_signals.py fits signals with a spectrum 1/f^p, and report.py
writes the page.
"""
