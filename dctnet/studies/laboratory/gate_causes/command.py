"""The command: trains every arm for every seed, measures the channels, and writes the page."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

from dctnet.errors import UserError, printable
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.gate_causes import data
from dctnet.studies.laboratory.gate_causes.arms import ARMS, Arm, deviations
from dctnet.studies.laboratory.gate_causes.page import write_gate_causes
from dctnet.studies.laboratory.gate_causes.training import probe_accuracy, smoothness, train_gate
from dctnet.studies.laboratory.seeds import STREAMS, generator
from dctnet.studies.laboratory.study import Measurement, Place, Study

DATA_OPTIONS = ("root",)
COLUMNS = (
    "arm", "seed", "channel", "rho", "low", "log_energy", "probe_accuracy", "smoothness", "keep_probability",
    "accuracy",
)  # fmt: skip


def gate_causes(
    out: str = "checkpoints/gate-causes",
    root: str | None = None,
    images: int = 1600,
    seeds: int = 8,
    *,
    signals: SignalRecorder | None = None,
    place: Place | None = None,
) -> None:
    """Why does a gate keep low frequencies: spectral bias of the network, energy compaction of the DCT, or information?

    A small network with a static gate and a budget of half of its 24 luma channels is trained in eight arms. An arm
    changes one possible cause; all else is equal, also the weights, batches and gate noise of a seed. The same folder
    can be continued with more seeds: --seeds 2 takes minutes and gives a first impression, 8 give intervals.

    Args:
        out: Folder of the study.
        root: Photographs, as for ``fit``. Default: generated data, in which information, energy and smoothness of each
            channel are known and differ from seed to seed.
        images: Photographs to train on; a quarter of it to validate. Of no use for generated data.
        seeds: Trainings of each arm.
        signals: Recorder of the signals that stop the study.
        place: Where the units are measured; None for this process.

    Raises:
        UserError: The photographs, the folder or an option cannot be used.
        Stopped: A signal came.
    """
    if seeds < 1 or images < 256:
        raise UserError(f"--seeds must be at least 1 and --images at least 256, got {seeds} and {images}")
    photographs = None if root is None else data.from_photographs(root, images)
    options = {"data": root or "generated", "images": None if root is None else images}
    study = Study("gate-causes", out, COLUMNS, options, signals=signals, streams=STREAMS)

    @lru_cache(maxsize=1)
    def data_of(seed: int) -> data.ChannelData:
        return photographs or data.generate(seed)

    measure = partial(_measure, study, data_of)
    # All arms of a seed before the next seed, so that an unfinished study compares arms.
    units = {f"{arm.name}/{seed}": partial(measure, arm, seed) for seed in range(seeds) for arm in ARMS}
    study.run(units, place)
    page = write_gate_causes(study)
    print(f"report: {printable(str(page))}")


def _measure(study: Study, data_of: Callable[[int], data.ChannelData], arm: Arm, seed: int) -> Iterator[Measurement]:
    """Trains one arm for one seed; a row for each channel."""
    changed = arm.change(data_of(seed), generator(seed, "change"))
    trained = train_gate(changed, arm, seed, study.check_stop)
    by_channel = zip(
        data.INDICES,
        data.RHO.tolist(),
        data.LOW.int().tolist(),
        (2 * deviations(changed).log2()).tolist(),
        probe_accuracy(changed.train, changed.val, changed.classes).tolist(),
        smoothness(changed.train.channels).tolist(),
        trained.keep_probability.double().tolist(),
        strict=True,
    )
    for values in by_channel:
        yield dict(zip(COLUMNS, (arm.name, seed, *values, trained.accuracy), strict=True))
