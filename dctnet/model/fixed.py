"""A network with a static gate as a smaller one without: the channels that the gate drops are removed."""

import copy

import torch
from torch import nn

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.model.gates import StaticGate
from dctnet.model.network import FrequencyNet
from dctnet.model.normalisation import ChannelNorm


@torch.no_grad()
def without_dropped_channels(network: FrequencyNet) -> FrequencyNet:
    """Removes the channels that a static gate drops, and the gate; other networks are returned unchanged.

    The result computes the same logits from fewer inputs, because a dropped channel is multiplied by zero.

    Raises:
        UserError: The gate drops all channels.
    """
    if not isinstance(network.gate, StaticGate):
        return network
    assert network.channels is not None
    kept = torch.nonzero(network.gate.logits > 0).flatten().tolist()
    if not kept:
        raise UserError("the gate keeps no channel, so that nothing is left to export")
    smaller = copy.deepcopy(network)
    smaller.gate = None
    smaller.channels = ChannelSet(network.channels.name, tuple(network.channels.indices[i] for i in kept))
    smaller.normalisation = ChannelNorm(len(kept), network.normalisation.companding)
    smaller.normalisation.fit(network.normalisation.mean[kept], network.normalisation.std[kept])
    entry = smaller.entry
    entry.weight = nn.Parameter(entry.weight[:, kept].clone(), requires_grad=entry.weight.requires_grad)
    entry.in_channels = len(kept)
    return smaller.train(network.training)
