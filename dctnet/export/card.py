"""The model card of a network, in Markdown, from what its checkpoint knows."""

from typing import Any

from dctnet.data.preprocess import Preprocess
from dctnet.errors import printable
from dctnet.model.network import FrequencyNet
from dctnet.training.public_options import public_options

_CARD = """---
library_name: dctnet
license: {license}
pipeline_tag: image-classification
---

# {backbone} on {inputs}

Classifies photographs into {count} classes: {classes}.

| | |
|---|---|
| input | {inputs} |
| gate in training | {gate} |
| image size | {size} × {size} pixels, from the central square of {crop:g} % of the short side |
| compute | {gmac:.3f} GMAC, {values:,} input values an image |
| parameters | {parameters:.2f} million |
| trained on | `{data}` |
| written by | dctnet {version} |

```python
from dctnet.export.hub import Pretrained

network = Pretrained.from_pretrained("FOLDER OR REPOSITORY").network
probability = network(network.preprocess("photo.jpg")).softmax(1)[0]
print(network.classes[probability.argmax()])
```

Channels (64·component + 8·v + u, components Y, Cb, Cr): {channels}.

Not known to dctnet, to be added by you: accuracy, licence of the photographs, intended use, where the network fails.
"""


def write_card(network: FrequencyNet, content: dict[str, Any], version: str) -> str:
    """Describes a trained network.

    Args:
        network: From ``dctnet.load``.
        content: Its checkpoint.
        version: Of dctnet.
    """
    model, data, preprocess = content["hyper_parameters"], content["datamodule_hyper_parameters"], network.preprocess
    assert isinstance(preprocess, Preprocess)
    cost = network.cost()
    return _CARD.format(
        license="unknown",
        backbone=model["backbone"],
        inputs="RGB" if network.channels is None else f"{len(network.channels)} of 192 frequency channels",
        count=len(network.classes),
        classes=printable(", ".join(network.classes[:20])) + (", …" if len(network.classes) > 20 else ""),
        gate=model["gate"],
        size=network.image_size,
        crop=100 * preprocess.crop_fraction,
        gmac=cost["gmac"],
        values=int(cost["values"]),
        parameters=cost["parameters"] / 1e6,
        data=printable(public_options(data, model)["root"]),
        version=version,
        channels="none, RGB" if network.channels is None else " ".join(map(str, network.channels.indices)),
    )
