"""The page of the study: the answers in words, and the sections that were measured."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dctnet.studies.intervals import mean_interval
from dctnet.studies.laboratory.fourier_features import figures
from dctnet.studies.laboratory.fourier_features.image import Picture
from dctnet.studies.laboratory.fourier_features.kernel_report import (
    kernel_section,
    signal_section,
    training_section,
    window_section,
)
from dctnet.studies.laboratory.fourier_features.mappings import DISTRIBUTIONS, FIXED
from dctnet.studies.laboratory.fourier_features.measure import PICTURES
from dctnet.studies.laboratory.fourier_features.results import Sweep, psnr_by_draw, read_sweep, select
from dctnet.studies.laboratory.page import Found, Section, Table, write_study
from dctnet.studies.laboratory.study import Measurement, Study
from dctnet.studies.page.page import Plot

# Test PSNR of Tancik et al. 2020, table 1, natural images: mean ± standard deviation over 16 images of 512 px.
_SOURCE = {"none": "19.3 ± 2.5", "basic": "21.7 ± 2.7", "positional": "25.0 ± 3.7", "gaussian": "25.6 ± 4.2 (σ = 10)"}


def write_report(study: Study, picture: Picture, sigmas: Sequence[float], compared: Sequence[float]) -> Path:
    """Writes ``report.html`` and ``figures/`` from the rows of a study; returns the page's path."""
    rows, options = study.rows, study.content["options"]
    sweep = read_sweep(rows, sigmas)
    found = [
        _sweep_section(study, picture, sweep),
        _mapping_section(rows, sweep),
        _distribution_section(rows, sweep, compared),
        kernel_section(rows, options),
        training_section(rows, options),
        window_section(rows, options),
        signal_section(rows),
    ]
    draws = options["draws"]
    question = (
        f"A network learns the colours of a photograph ({options['image']}, {picture.size} px) as a function of the "
        "position, from a quarter of the pixels, and is tested on the others. How do sines and cosines of the "
        "position, "
        "instead of the position itself, change what it learns, and can it be predicted? It is one photograph; "
        "others have "
        "another best σ. The experiments are those of "
        "Tancik et al. 2020, Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains. "
        + (f"Numbers in brackets are 95 % intervals over {draws} draws of the frequencies and initial weights."
           if draws > 1 else "All numbers are of one draw of the frequencies.")
    )  # fmt: skip
    told = [paragraph for _, words in found for paragraph in words]
    return write_study(study, "How Fourier features choose the bandwidth", question, told, [each for each, _ in found])


def _sweep_section(study: Study, picture: Picture, sweep: Sweep) -> Found:
    floor, compared = (
        float(select(study.rows, part="image", name="bicubic", measure=measure)[0]["value"])
        for measure in ("test_psnr", sweep.reported)
    )
    train, test = ([mean_interval(each) for each in values.T] for values in (sweep.train, sweep.test))
    best, top = sweep.best_place, int(sweep.train.mean(0).argmax())
    inside = (
        f"The best σ for the other pixels is {sweep.best} cycles per image"
        if sweep.is_inside
        else f"The best σ is at an end of the sweep for some draw: {sweep.best}; widen --sigmas"
    )
    past = (
        f"Past it the network still fits its own pixels better, up to {train[top]} dB at σ = {sweep.sigmas[top]:g}, "
        f"while "
        f"the others fall to {test[-1]} dB at σ = {sweep.sigmas[-1]:g}: overfitting. Below it both are low: "
        f"underfitting."
        if top > best
        else f"The fit of its own pixels is best at the same or a lower σ = {sweep.sigmas[top]:g}."
    )
    gain = mean_interval(sweep.report[:, best] - compared)
    against = {1: "better than", -1: "worse than", 0: "not shown to differ from"}[gain.sign]
    told = [
        f"{inside}; the sweep's best, σ = {sweep.sigmas[best]:g}, reaches {test[best]} dB. {past}",
        f"Bicubic interpolation of the same pixels has {floor:.1f} dB; the network at its best σ differs by {gain} dB"
        + (f", {against} it. " if gain.seeds > 1 else ". ")
        + (
            "σ was chosen on the same pixels, in favour of the network."
            if sweep.reported == "test_psnr"
            else "σ was chosen on one half of the other pixels, and the difference is that on the other half."
        ),
    ]
    numbers: list[Any] = [["sigma", "pixels", "PSNR, dB", "low", "high"]]
    numbers += [
        [float(sigma), kind, each.value, each.low, each.high]
        for kind, intervals in (("train", train), ("test", test))
        for sigma, each in zip(sweep.sigmas, intervals, strict=True)
    ]
    curves = Plot("sigma", "PSNR over sigma.", lambda: figures.draw_sweep(sweep, floor), numbers)
    caption = (
        "Peak signal-to-noise ratio over the standard deviation σ of Gaussian frequencies, mean over draws; bands are "
        "95 % intervals. A small σ offers too few frequencies for either curve, a large one fits the known pixels and "
        "invents what is between them."
    )
    shown = {"photograph": picture.colours.reshape(picture.size, picture.size, 3).numpy()}
    wanted = {"no mapping": "none-0", **{f"σ = {sigma:g}": f"gaussian-{sigma:g}" for sigma in sweep.sigmas}}
    for name, stem in wanted.items():
        if (path := study.out / PICTURES / f"{stem}.png").exists():
            shown[name] = np.asarray(Image.open(path).convert("RGB")) / 255
    images = Plot(
        "images", "What the networks learn.", lambda: figures.draw_pictures(shown), [["panel"], *([n] for n in shown)]
    )
    seen = "The photograph, and what networks make of a quarter of its pixels (first draw)."
    rows = [[f"σ = {s:g}", a.cell, b.cell] for s, a, b in zip(sweep.sigmas, train, test, strict=True)]
    table = Table("PSNR over σ", ["Gaussian frequencies", "Known pixels, dB", "Other pixels, dB"], rows)
    return Section(
        "The deviation σ of the frequencies", plots=[(curves, caption), (images, seen)], tables=[table]
    ), told


def _mapping_section(rows: Sequence[Measurement], sweep: Sweep) -> Found:
    best = float(sweep.sigmas[sweep.best_place])
    levels = {**dict.fromkeys(FIXED, 0.0), "gaussian": best}
    tests = {name: psnr_by_draw(rows, name, level, sweep.reported) for name, level in levels.items()}
    held_out = sweep.reported != "test_psnr"
    cells = []
    for name, test in tests.items():
        train = mean_interval(psnr_by_draw(rows, name, levels[name], "train_psnr"))
        label = f"{name} (σ = {best:g})" if name == "gaussian" else name
        cells.append([label, train.cell, mean_interval(test).cell, _SOURCE[name]])
    means = {name: float(test.mean()) for name, test in tests.items()}
    ours, theirs = sorted(means, key=lambda name: means[name]), ["none", "basic", "positional", "gaussian"]
    shown = sum(mean_interval(tests[b] - tests[a]).sign > 0 for a, b in itertools.pairwise(ours))
    told = [
        "Test PSNR: " + ", ".join(f"{name} {mean_interval(test)}" for name, test in tests.items())
        + f" dB. From the worst to the best mean, this is {' < '.join(ours)}; "
        + ("the same order as in the source" if ours == theirs else f"the source has {' < '.join(theirs)}")
        + (f". Paired by draw, the intervals show {'all' if shown == 3 else f'{shown} of 3'} of these steps."
           if len(tests["none"]) > 1 else ".")
    ]  # fmt: skip
    text = (
        "basic: one cycle per image. positional: frequencies along each axis, equally spaced in their logarithm up "
        "to a "
        "quarter of the image's side, the highest that the known pixels can carry. The source's values are means and "
        "standard deviations over 16 other photographs of 512 px and networks of 4 × 256, 2,000 steps, so only the "
        "order can be compared." + " Other pixels are here the half by which σ was not chosen." * held_out
    )
    columns = ["Mapping", "Known pixels, dB", "Other pixels, dB", "Source: other pixels, dB"]
    return Section("Mappings", [text], tables=[Table("PSNR by mapping", columns, cells)]), told


def _distribution_section(rows: Sequence[Measurement], sweep: Sweep, compared: Sequence[float]) -> Found:
    cells: list[Any] = []
    changes = []
    for sigma in compared:
        tests = {name: psnr_by_draw(rows, name, float(sigma), "test_psnr") for name in DISTRIBUTIONS}
        cells.append([f"σ = {sigma:g}", *(mean_interval(test).cell for test in tests.values())])
        changes += [
            (f"{name} at σ = {sigma:g}", mean_interval(tests[name] - tests["gaussian"])) for name in DISTRIBUTIONS[1:]
        ]
    if not changes:
        return Section("Distributions of equal deviation", ["Not measured: --compare_sigmas is empty."]), []
    spread = float(np.ptp(sweep.test.mean(0)))
    widest = max(changes, key=lambda each: abs(each[1].value))
    shown = [f"{name} {change}" for name, change in changes if change.sign]
    told = [
        f"At equal deviation, the distribution of the frequencies changes test PSNR by at most "
        f"{abs(widest[1].value):.2g} dB "
        f"({widest[0]}), the deviation itself by {spread:.1f} dB. "
        + (f"Differences from Gaussian frequencies that the intervals show: {'; '.join(shown)}."
           if shown else "No difference from Gaussian frequencies is shown.")
    ]  # fmt: skip
    columns = ["Deviation", *(f"{name.capitalize()}, dB" for name in DISTRIBUTIONS)]
    numbers: list[Any] = [["deviation", *DISTRIBUTIONS]]
    numbers += [[row[0], *(cell[0] for cell in row[1:])] for row in cells]
    alternative = "Test PSNR by distribution and deviation."
    figure = Plot("distributions", alternative, lambda: figures.draw_distributions(rows, sweep, compared), numbers)
    caption = "Test PSNR of three distributions with the same standard deviation; bars are 95 % intervals over draws."
    table = Table("Test PSNR by distribution", columns, cells)
    return Section("Distributions of equal deviation", plots=[(figure, caption)], tables=[table]), told
