"""What is measured with only and without a band."""

import torch

from dctnet.frequency.bands import band_mask, octave_bands, project
from dctnet.training import band_probes
from dctnet.training.band_probes import BandProbes, network_input

SIZE, IMAGES, CLASSES = 32, 24, 3
GENERATOR = torch.Generator().manual_seed(0)
PLANES = 255 * torch.rand(IMAGES, 3, SIZE, SIZE, generator=GENERATOR)
TARGETS = torch.arange(IMAGES) % CLASSES
WEIGHTS = torch.randn(CLASSES, 3 * SIZE * SIZE, generator=GENERATOR)


def classify(input):
    return input.flatten(1) @ WEIGHTS.T


def measured(rows, quantity, low=""):
    return next(row["correct"] for row in rows if row["quantity"] == quantity and row["low"] == low)


def test_answers_are_those_on_filtered_images():
    rows = BandProbes(PLANES, TARGETS, lambda planes: planes).measure(classify, 1)
    mean = PLANES.mean((-2, -1), keepdim=True)
    for band in octave_bands(SIZE):
        part = project(PLANES, band_mask(band, SIZE))
        for quantity, images in (("only", mean + part), ("without", PLANES - part)):
            right = classify(images).argmax(1) == TARGETS
            assert measured(rows, quantity, band.low) == "".join("wr"[int(each)] for each in right)


def test_inputs_that_are_not_kept_give_the_same_rows(monkeypatch):
    to_input = network_input("rgb", [])
    kept = BandProbes(PLANES, TARGETS, to_input)
    rows = [kept.measure(classify, epoch) for epoch in (1, 2)]
    monkeypatch.setattr(band_probes, "_MOST_KEPT", 0)
    again = BandProbes(PLANES, TARGETS, to_input)
    assert [again.measure(classify, epoch) for epoch in (1, 2)] == rows


def test_a_network_that_answers_perfectly_has_no_error_at_any_response_frequency():
    def perfect(input):
        return 100 * torch.nn.functional.one_hot(TARGETS, CLASSES)

    rows = BandProbes(PLANES, TARGETS, lambda planes: planes).measure(perfect, 1)
    errors = [row["value"] for row in rows if row["quantity"] in ("e_low", "e_high")]
    assert len(errors) == 2  # of one width: 24 images are too few for others
    assert max(errors) < 1e-6
    assert next(row["value"] for row in rows if row["quantity"] == "chance") == 1 / CLASSES
