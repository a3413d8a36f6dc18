"""The verdict in words, derived from the intervals."""

from dctnet.studies.intervals import Interval
from dctnet.studies.laboratory.gate_causes.arms import FACTOR
from dctnet.studies.laboratory.gate_causes.causes import (
    CAUSES,
    MIN_SEEDS,
    Runs,
    deviation,
    effect,
    identical,
    kept_in,
    partial_correlations,
)
from dctnet.studies.laboratory.gate_causes.data import KEEP


def verdict(runs: Runs) -> list[str]:
    """Paragraphs; the first answers the question."""
    seeds = len(runs["natural"])
    if seeds < MIN_SEEDS:
        kept = kept_in(runs, "natural").value
        return [
            f"{seeds} seed{'s' * (seeds > 1)} an arm: too few for a verdict. Continue the same folder with --seeds 8. "
            f"So far the gate keeps {kept:.1f} of {KEEP} low channels in the natural arm, where {KEEP / 2:g} is no "
            "preference."
        ]
    return [_answer(runs), _preference(runs), _energy(runs), _information(runs), _arrangement(runs), _partials(runs)]


def _answer(runs: Runs) -> str:
    partial = partial_correlations(runs, "natural")
    causes = [word for name, word in CAUSES.items() if partial[name].excludes(0)]
    strongest = max(CAUSES, key=lambda name: abs(partial[name].value))
    by_energy = identical(runs, "equal_energy")
    compaction = (
        "Energy compaction is not the cause: with a scale for each channel, as in dctnet, energy cannot reach the "
        "network"
        if by_energy[0] == by_energy[1]
        else "Energy changed what the gate keeps although each channel has its own scale, which should not be possible"
    )
    own = "nothing shows that the frequency of a channel by itself matters, as spectral bias would have it"
    if "frequency" in causes:
        sign = "low" if partial["rho"].value < 0 else "high"
        own = f"{sign} frequencies by themselves are still preferred"
    found = f"What the gate keeps goes with {_list(causes)}" if causes else "No single cause can be told"
    others = [max(-each.low, each.high) for name, each in partial.items() if name != strongest]
    is_apart = max(partial[strongest].low, -partial[strongest].high) > max(others)
    most = f", most of all with {CAUSES[strongest]}" if len(causes) > 1 and is_apart else ""
    return f"{compaction}. {found}{most}; {own}, once the other causes are held constant."


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _preference(runs: Runs) -> str:
    kept = kept_in(runs, "natural")
    word = "no preference can be told"
    if kept.excludes(KEEP / 2):
        word = f"it prefers {'low' if kept.value > KEEP / 2 else 'high'} frequencies"
    return f"Natural arm: the gate keeps {kept} low channels of {KEEP}; {KEEP / 2:g} is no preference, so {word}."


def _changed(interval: Interval) -> str:
    if not interval.excludes(0):
        return f"no change can be told ({interval})"
    return f"{'more' if interval.value > 0 else 'fewer'} low channels are kept ({interval})"


def _energy(runs: Runs) -> str:
    same, seeds = identical(runs, "equal_energy")
    loud, quiet, common = (effect(runs, arm) for arm in ("low_loud", "low_quiet", "common_scale"))
    return (
        f"Energy: made equal by powers of two, it leaves the keep probabilities the same numbers in {same} of {seeds} "
        f"seeds. Only a scale that all channels share lets energy act. Then, against the natural arm: with natural "
        f"energies {_changed(common)}; with low channels × {FACTOR} {_changed(loud)}; × 1/{FACTOR} {_changed(quiet)}."
    )


def _information(runs: Runs) -> str:
    return f"Information: with less of it in the low channels {_changed(effect(runs, 'less_informative'))}."


def _arrangement(runs: Runs) -> str:
    same, seeds = identical(runs, "permuted")
    bits = f"in {same} of {seeds} seeds the same numbers" if same else "up to rounding"
    return (
        "Smoothness is the only way by which the network can notice a frequency. Without it, blocks shuffled, "
        f"{_changed(effect(runs, 'shuffled'))}. The place of a channel in the input means nothing: permuted channels "
        f"have the keep probabilities of the natural arm, {bits} (mean difference "
        f"{deviation(runs, 'permuted'):.3f}; between seeds {_between_seeds(runs):.3f})."
    )


def _between_seeds(runs: Runs) -> float:
    """Mean absolute difference of the keep probabilities of two seeds of the natural arm."""
    keeps = [run["keep_probability"] for run in runs["natural"].values()]
    pairs = [abs(a - b).mean() for place, a in enumerate(keeps) for b in keeps[:place]]
    return float(sum(pairs) / len(pairs))


def _partials(runs: Runs) -> str:
    partial = partial_correlations(runs, "natural")
    return (
        "Rank correlation of the keep probability with each cause, the others held constant, natural arm: "
        + ", ".join(f"{word} {partial[name]}" for name, word in CAUSES.items())
        + "."
    )
