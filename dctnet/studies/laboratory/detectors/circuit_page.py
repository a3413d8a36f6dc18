"""Sections of the page about circuits of detectors, and their use behind."""

from typing import Any

import numpy as np

from dctnet.studies.intervals import minus
from dctnet.studies.laboratory.detectors import unit_figures
from dctnet.studies.laboratory.detectors.circuit import WAVELENGTHS, is_invariant_to_equivariant
from dctnet.studies.laboratory.detectors.measured import Measured
from dctnet.studies.laboratory.page import Section, Table
from dctnet.studies.laboratory.study import Measurement, Study


def _of(rows: list[Measurement], label: str, layer: str, measure: str) -> list[Measurement]:
    return [r for r in rows if (r["network"], r["layer"], r["measure"]) == (label, layer, measure)]


def circuit_texts(rows: list[Measurement], label: str) -> dict[str, str]:
    """What the factorisation says, by layer."""
    texts = {}
    for layer in dict.fromkeys(
        str(r["layer"]) for r in rows if r["network"] == label and r["measure"] == "factor_center"
    ):
        explained, bound = (
            {int(r["item"]): float(r["value"]) for r in _of(rows, label, layer, m)} for m in ("nmf", "nmf_bound")
        )
        fine, coarse = (float(r["value"]) for r in _of(rows, label, layer, "factor_center"))
        similar = [float(r["value"]) for r in _of(rows, label, layer, "map_correlation")]
        share, mean = explained[2] / bound[2] if bound[2] else 0.0, float(np.mean(similar))
        rule = is_invariant_to_equivariant(share, coarse - fine, mean)
        texts[layer] = (
            f"two factors explain {explained[2]:.2f} of the input weights of {len(similar)} units, {share:.2f} of "
            "what is "
            f"possible with two; their centres are {coarse - fine:.1f} octaves apart ({2**fine:.0f} and "
            f"{2**coarse:.0f} px); "
            f"their maps correlate with {minus(f'{mean:.2f}')}. "
            + (
                "This is the pattern Invariant→Equivariant: a fine and a coarse input, the same for all, on opposite "
                "sides."
                if rule
                else "This is not the pattern Invariant→Equivariant, which needs 0.8, half an octave, and below −0.5."
            )
        )
    return texts


def circuit_sections(study: Study, measured: Measured, number: int) -> list[Section]:
    """A section on each layer whose circuit was measured; number is that of the network on the page."""
    sections = []
    for layer, verdict in circuit_texts(study.rows, measured.label).items():

        def of(measure: str, layer: str = layer) -> list[Measurement]:
            return _of(study.rows, measured.label, layer, measure)

        tuning = np.zeros((len(WAVELENGTHS), 2))
        for each in of("factor_tuning"):
            tuning[WAVELENGTHS.index(int(each["wavelength"])), int(each["item"])] = each["value"]
        maps: dict[int, Any] = {}
        for each in of("map"):
            values = np.array([float(v) for v in str(each["text"]).split()])
            side = round(len(values) ** 0.5)
            maps.setdefault(int(each["channel"]), []).append(values.reshape(side, side))
        maps = {channel: np.array(pair) for channel, pair in list(maps.items())[:8]}
        plot = unit_figures.plot_circuit(
            f"circuit-{number}-{layer.replace('.', '_')}", layer, [float(r["value"]) for r in of("nmf")],
            [float(r["value"]) for r in of("nmf_bound")], tuning, maps,
        )  # fmt: skip
        caption = (
            "Left: share of the input weights that a sum of so many factors explains, and the largest possible share. "
            "Right: response of the two factors to textures by wavelength. Below: spatial maps of the fine factor "
            "(upper "
            "row) and of the coarse one, a column a unit; red excites, blue inhibits."
        )
        text = [
            f"Input weights of {of('nmf')[0]['text']}, times the factor of the batch norm and the mean activity of "
            "each "
            f"input, as a sum of a channel factor times a spatial map: {verdict}",
            *_use_text(of),
        ]
        tables = [*_inputs_table(of), *_use_table(of)]
        sections.append(Section(f"{measured.label}: circuit of {layer}", text, [(plot, caption)], tables))
    return sections


def _inputs_table(of: Any) -> list[Table]:
    rows = [
        [f"{('fine', 'coarse')[int(r['item'])]}: {r['text']}, input {r['channel']}", float(r["value"])]
        for r in of("factor_input")
    ]
    return [Table("Strongest inputs of each factor", ["Input", "Weight in the factor"], rows)] if rows else []


def _use_text(of: Any) -> list[str]:
    used, mean = of("use"), of("use_mean")
    if not used:
        return []
    top = float(np.mean([float(r["value"]) for r in used]))
    text = (
        f"Behind: in the {len(used)} units that read them most, these units have {100 * top:.1f} % of the input "
        "weights, "
        f"in all units of that layer {100 * float(mean[0]['value']):.1f} %."
    )
    if same := of("same_sign"):
        text += (
            f" Of {same[0]['item']} pairs with opposite directions, both have the same sign in "
            f"{100 * float(same[0]['value']):.0f} % of these units, all pairs of units of the layer in "
            f"{100 * float(of('same_sign_null')[0]['value']):.0f} %: a layer that ignores polarity gives both the "
            "same sign."
        )
    else:
        text += " No two have opposite directions, so it cannot be said whether polarity is ignored."
    return [text]


def _use_table(of: Any) -> list[Table]:
    rows = [
        [f"{r['text']}, {r['channel']}", (float(r["value"]), f"{100 * float(r['value']):.1f} %")] for r in of("use")
    ]
    return (
        [Table("Units behind that read these units most", ["Unit", "Share of its input weights"], rows)] if rows else []
    )
