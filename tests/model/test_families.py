"""Networks of timm: every family reads channels, at its stem's stride and at 1/8, and is known by its name."""

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.model.backbones.build import build_backbone, build_rgb_backbone, geometry
from dctnet.model.backbones.families import find_family
from dctnet.model.backbones.surgery import left_out
from dctnet.model.metrics import count_gmac
from dctnet.model.network import FrequencyNet
from dctnet.model.patchify import rgb_channels

STEMS = {
    "resnet18": 4, "mobilenet_v2": 2, "timm/resnet18": 4, "resnet26d": 4, "resnetaa50d": 4, "seresnext26d_32x4d": 4,
    "regnety_002": 2, "efficientnet_b0": 2, "mobilenetv3_small_050": 2, "mobilenetv4_conv_small": 2, "convnext_atto": 4,
    "convnext_atto_ols": 4, "convnextv2_atto": 4, "deit_tiny_patch16_224": 16, "vit_base_patch32_224": 32,
    "swin_tiny_patch4_window7_224": 4, "swinv2_tiny_window8_256": 4, "csatv2": 8,
}  # fmt: skip
# One of each family by default.
FAST = ["resnet18", "resnetaa50d", "regnety_002", "mobilenetv4_conv_small", "convnext_atto", "deit_tiny_patch16_224"]
each_stem = pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in STEMS]
)
AT_8 = [name for name, stride in STEMS.items() if stride < 8]
# The smallest of each family, for everything that computes.
SMALL = ["test_resnet", "regnetx_002", "test_efficientnet", "mobilenetv4_conv_small", "test_convnext", "test_vit"]


def grids(network, shape):
    """Height and width of what every part of a network returns, by its name."""
    found = {}

    def note(name):
        def hook(module, args, output):
            found[name] = tuple(output.shape[1:])

        return hook

    for name, module in network.named_modules():
        if name and not list(module.children()):
            module.register_forward_hook(note(name))
    with torch.no_grad():
        network.eval()(torch.empty(1, *shape))
    return found


def entered(network, family):
    """The stage that channels enter at 1/8, whose first layers see another resolution than in the RGB network."""
    if len(family.stages) > 1:
        return family.stages[-1]
    (container,) = family.stages
    stages = [name for name, part in network.get_submodule(container).named_children()]
    return next(f"{container}.{s}" for s in stages[1:] if f"{container}.{s}" not in left_out(network, family))


@each_stem
@pytest.mark.parametrize("entry", ["stem", "stride8"])
def test_at_the_native_size_the_layers_see_the_grids_of_the_rgb_network(name, entry):
    if entry == "stride8" and name not in AT_8:
        return
    sizes, family = geometry(name, entry), find_family(name)
    own, native = geometry(name, None).native, sizes.native
    assert native == own * (max(1, 8 // STEMS[name]) if entry == "stem" else 1)
    with torch.device("meta"):
        rgb = grids(build_rgb_backbone(name, 5, own), (3, own, own))
        network = build_backbone(name, 24, 5, entry=entry, image_size=native)
        channels = grids(network, (24, native // 8, native // 8))
    inside = (*family.stem, "relu.", "act1.", *([f"{entered(network, family)}."] if entry == "stride8" else []))
    shared = [key for key in channels if key in rgb and not f"{key}.".startswith(inside)]
    assert len(shared) > 5
    assert {key: channels[key] for key in shared} == {key: rgb[key] for key in shared}


@pytest.mark.parametrize("name", [name for name in AT_8 if name in FAST])
def test_an_entry_at_one_eighth_costs_less_than_the_rgb_network(name):
    own = geometry(name, None).native
    with torch.device("meta"):
        rgb = count_gmac(build_rgb_backbone(name, 5, own), (3, own, own))
        network = build_backbone(name, NUM_CHANNELS, 5, entry="stride8", image_size=own)
        assert 0.5 * rgb < count_gmac(network, (NUM_CHANNELS, own // 8, own // 8)) < rgb


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("count", [1, 192])
@pytest.mark.parametrize("size", [64, 96])
def test_logits_have_the_shape_of_the_classes(name, count, size):
    for entry in ("stem", "stride8") if find_family(name).stages else ("stem",):
        network = build_backbone(name, count, 7, entry=entry, image_size=size).eval()
        assert network(torch.zeros(2, count, size // 8, size // 8)).shape == (2, 7)


def test_both_libraries_have_the_same_resnet_behind_the_entry():
    ours, theirs = (build_backbone(name, 24, 5).eval() for name in ("resnet18", "timm/resnet18"))
    assert type(ours).__module__ != type(theirs).__module__
    theirs.load_state_dict(ours.state_dict())
    channels = torch.randn(2, 24, 8, 8)
    assert torch.allclose(ours(channels), theirs(channels), atol=1e-5)


def test_layer2_keeps_the_resolution_at_one_eighth():
    network = build_backbone("resnet18", 24, 5, entry="stride8").eval()
    plain = build_rgb_backbone("resnet18", 5).eval()
    plain.load_state_dict(
        {k: v for k, v in network.state_dict().items() if k[:5] not in ("conv1", "bn1.w")}, strict=False
    )
    features = torch.randn(1, 64, 8, 8)
    # Stride 1 computes at every place what stride 2 computes at every second one: true of the first convolution.
    block, same = network.layer2[0], plain.layer2[0]
    assert torch.allclose(block.conv1(features)[..., ::2, ::2], same.conv1(features), atol=1e-5)
    assert torch.allclose(block.downsample(features)[..., ::2, ::2], same.downsample(features), atol=1e-5)
    assert isinstance(network.layer1, nn.Identity)


def patch_weights(pixels):
    """Weights (width, 3, 8n, 8n) of normalised pixels as those of the channels (width, 192, n, n) of the same patch."""
    matrix = torch.eye(NUM_CHANNELS).view(-1, 3, 8, 8)
    forward = (rgb_channels(matrix) - rgb_channels(torch.zeros(1, 3, 8, 8))).flatten(1)  # (pixel, channel)
    width, _, side, _ = pixels.shape
    blocks = pixels.view(width, 3, side // 8, 8, side // 8, 8).permute(0, 2, 4, 1, 3, 5).reshape(-1, NUM_CHANNELS)
    weights = torch.linalg.solve(forward.double(), blocks.double().T).T.float()
    return weights.view(width, side // 8, side // 8, NUM_CHANNELS).permute(0, 3, 1, 2)


def test_the_entry_of_a_vit_can_compute_its_patch_embedding():
    torch.manual_seed(0)
    rgb = build_rgb_backbone("test_vit", 5, 64).eval()
    own = build_backbone("test_vit", NUM_CHANNELS, 5, image_size=64).eval()
    own.load_state_dict({**rgb.state_dict(), "patch_embed.proj.weight": patch_weights(rgb.patch_embed.proj.weight)})
    pixels = torch.rand(2, 3, 64, 64) * 255
    shift = rgb_channels(torch.zeros(1, 3, 8, 8))  # the level shift, which normalisation takes away
    with torch.no_grad():
        assert torch.allclose(own(rgb_channels(pixels) - shift), rgb(pixels), atol=1e-3)


def test_attention_is_counted():
    with torch.device("meta"):
        meta = count_gmac(build_rgb_backbone("test_vit", 5, 160), (3, 160, 160))
    network = build_rgb_backbone("test_vit", 5, 160)
    tokens, width, depth = 10 * 10 + network.num_prefix_tokens, network.embed_dim, len(network.blocks)
    hidden = network.blocks[0].mlp.fc1.out_features
    block = tokens * width * (4 * width + 2 * hidden) + 2 * tokens**2 * width
    expected = (depth * block + 100 * 3 * 16**2 * width + 5 * width) / 1e9
    assert count_gmac(network, (3, 160, 160)) == pytest.approx(expected)
    assert meta == pytest.approx(expected)


@pytest.mark.parametrize("name", [*SMALL, "csatv2"])
def test_a_step_in_small_changes_every_weight_and_lowers_the_loss(name):
    torch.manual_seed(0)
    entry = "stride8" if find_family(name).stages else "stem"
    network = FrequencyNet(["a", "b"], "square-24", 64, backbone=name, entry=entry)
    input, target = torch.randn(4, 24, 8, 8), torch.tensor([0, 1, 0, 1])
    optimizer, losses = torch.optim.AdamW(network.parameters(), 1e-3), []
    for _ in range(4):
        loss = F.cross_entropy(network(input), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_a_frozen_network_trains_the_head_alone(name):
    network = FrequencyNet(["a", "b"], "square-24", 64, backbone=name)
    network.freeze()
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(p) for p in network.head.parameters()}
    assert isinstance(network.head, nn.Linear)
    assert network.head.out_features == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "convnext_ato"}, "neither of torchvision nor of timm .* Did you mean 'convnext_atto'"),
        ({"backbone": "timm/resnet81"}, "neither of torchvision nor of timm .* Did you mean 'resnet"),
        ({"backbone": "hf-hub:someone/resnet18"}, "neither of torchvision nor of timm"),
        ({"backbone": "csatv2.r51_in1k"}, "csatv2 has no weights 'r51_in1k'. Did you mean 'csatv2.r512_in1k'"),
        ({"backbone": "vgg11"}, "the stem of timm's vgg is not known; known families: ResNet, .*CSATv2$"),
        ({"backbone": "regnetv_040"}, "it has another stem, unlike other networks of RegNet"),
        ({"backbone": "deit_tiny_distilled_patch16_224"}, "it has two heads"),
        ({"backbone": "vit_small_patch14_dinov2"}, "its patches of 14 px are not made of blocks of 8 px"),
        ({"backbone": "test_vit", "image_size": 72}, "test_vit needs a multiple of 16, at least 16; the nearest is 64"),
        ({"backbone": "test_convnext", "image_size": 40}, "needs a multiple of 8, at least 64; the nearest is 64"),
        ({"backbone": "resnetaa50", "image_size": 224}, "needs a multiple of 64, at least 64; the nearest is 256"),
        ({"backbone": "test_vit", "entry": "stride8"}, "comes down to 1/8 or below by itself; give stem"),
        ({"backbone": "csatv2", "entry": "stride8"}, "comes down to 1/8 or below by itself; give stem"),
        ({"backbone": "test_vit", "stem": "patchify", "input": "rgb"}, "test_vit embeds patches of pixels by itself"),
        ({"backbone": "test_convnext", "layer2_stride": 1}, "is for ResNets; test_convnext has no layer2"),
        ({"entry": "stride8", "layer2_stride": 1}, "with --model.entry stride8 layer2 keeps the resolution"),
        ({"entry": "stride8", "input": "rgb"}, "--model.entry stride8 is for channels and patches"),
        ({"entry": "stride16"}, "entry 'stride16': not one of stem, stride8"),
    ],
    ids=str,
)
def test_what_a_network_cannot_do_is_refused_by_name(options, message):
    with pytest.raises(UserError, match=message) as caught, torch.device("meta"):
        FrequencyNet(["a", "b"], "square-24", **{"image_size": 64, **options})
    assert "\n" not in str(caught.value)


def test_the_tag_of_weights_decides_the_native_size():
    with torch.device("meta"):
        sizes = [geometry(f"csatv2_21m.{tag}").native for tag in ("sw_r512_in1k", "sw_r640_in1k")]
    assert sizes == [512, 640]


@pytest.mark.parametrize("stem", ["torchvision", "own"])
def test_the_baseline_is_timms_network(stem):
    torch.manual_seed(0)
    network = FrequencyNet(["a", "b"], (), 64, "rgb", stem, "test_convnext").eval()
    torch.manual_seed(0)
    plain = timm.create_model("test_convnext", num_classes=2).eval()
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.equal(network(pixels), plain(pixels))
    assert network.native_size == 160


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "csatv2"])
def test_patchify_costs_as_much_as_all_channels(name):
    with torch.device("meta"):
        channels = FrequencyNet(["a", "b"], range(192), 64, backbone=name)
        patchify = FrequencyNet(["a", "b"], (), 64, "rgb", "patchify", name)
    assert patchify.cost() == {**channels.cost(), "values": 3 * 64 * 64}
    assert patchify.native_size == channels.native_size
