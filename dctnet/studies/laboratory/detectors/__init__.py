"""dctnet lab detectors: high–low frequency detectors of Schubert et al., 2021, in any network."""
