"""Random numbers of one seed are others for each purpose."""

import torch

from dctnet.studies.laboratory.seeds import derive, generator


def test_purposes_and_seeds_have_independent_numbers_that_can_be_drawn_again():
    names = [(seed, purpose) for seed in range(50) for purpose in ("weights", "batches", "change", "places")]
    assert len({derive(*name) for name in names}) == len(names)
    draws = torch.stack([torch.randn(200, generator=generator(*name)) for name in names])
    assert torch.equal(draws[0], torch.randn(200, generator=generator(*names[0])))
    correlations = torch.corrcoef(draws).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 0.45  # six deviations of 1 / √200
