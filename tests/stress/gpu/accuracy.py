"""Part 4: time to accuracy on Imagenette."""

from typing import Any

from tests.stress.gpu.bench import Bench, Cell


def train(bench: Bench, epochs: int, recipe: str, size: int, packed: bool = False, **data: Any) -> dict[str, Any]:
    """A fit with a recipe, crops of ``size`` pixels and some data options."""
    root, side, epochs = bench.photographs(), bench.size(size), 1 if bench.small else epochs
    if packed:
        root = bench.packed(root, side, min_scale=0.35)
    options = {
        "name": "accuracy",
        "data.root": root,
        "data.image_size": side,
        "data.batch_size": bench.batch,
        "data.num_workers": bench.workers,
        "data.min_scale": 0.35,
        "model.warmup": 0.2,
        "trainer.max_epochs": epochs,
        "trainer.check_val_every_n_epoch": epochs,
        **{f"data.{name}": value for name, value in data.items()},
    }
    metrics = bench.fit(recipe, options).trainer.callback_metrics
    top1, images, seconds = (float(metrics[name]) for name in ("val_acc1", "val_images", "seconds"))
    return {"top-1": round(top1, 4), "images": round(images), "training, s": round(seconds, 1)}


_RGB = {"recipe": "imagenette_rgb.yaml"}
_CHANNELS = {"recipe": "imagenette_static24.yaml", "channels": "square-24", "size": 224}
_ARMS = {
    "RGB, 224 px": {**_RGB, "size": 224},
    "DCT-24, packed store on the GPU": {**_CHANNELS, "packed": True, "residency": "device"},
    "RGB, 112 px": {**_RGB, "size": 112},
    "DCT-24, photographs": _CHANNELS,  # the recipe computes the DCT on the GPU
}
CELLS = tuple(
    Cell(f"{name}, {epochs} epochs", 40 + 5 * epochs, train, {"epochs": epochs, **options})
    for epochs in (5, 20)
    for name, options in _ARMS.items()
)
