"""Unbalanced folders: each class equally often in an epoch, and weights of the classes."""

from collections import Counter

import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.writer import pack
from dctnet.data.statistics import balanced_weights
from dctnet.errors import UserError
from tests.conftest import COLOURS, paint

COUNTS = {"blue": 20, "green": 6, "red": 2}


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory):
    """Three classes of 20, 6 and 2 training images, as photographs and as a packed store."""
    folder = tmp_path_factory.mktemp("unbalanced")
    for split, counts in (("train", COUNTS), ("val", dict.fromkeys(COUNTS, 1))):
        for name, count in counts.items():
            (folder / "photos" / split / name).mkdir(parents=True)
            for number in range(count):
                image = paint(COLOURS[name], (64, 48), number)
                image.save(folder / "photos" / split / name / f"{number}.jpg")
    options = {"channels": "zigzag-4", "image_size": 32, "crop_fraction": 1.0}
    pack(str(folder / "photos"), str(folder / "store"), **options, workers=1)
    return folder


def module(root, **options):
    kind = {} if root.name == "store" else {"channels": "zigzag-4", "image_size": 32, "num_workers": 0}
    return FrequencyDataModule(str(root), batch_size=4, **kind, **options)


def samples(data, epoch=0):
    """File, target and input of each training sample of an epoch."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]
    return [torch.cat([batch[key] for batch in batches]) for key in ("index", "target", "input")]


@pytest.mark.parametrize("kind", ["photos", "store"])
def test_a_balanced_epoch_reads_each_class_equally_often_and_repeats_files_with_other_crops(unbalanced, kind):
    data = module(unbalanced / kind, sampler="balanced")
    index, target, inputs = samples(data)
    assert len(index) == 28  # as many as an epoch that shuffles
    assert sorted(Counter(target.tolist()).values()) == [9, 9, 10]
    files = data.files("train")
    assert [files.targets[i] for i in index] == target.tolist()
    rare = inputs[index == files.targets.index(2)]  # one file of the class of two
    assert len(rare) in (4, 5)
    assert len({crop.numpy().tobytes() for crop in rare}) == len(rare)


@pytest.mark.parametrize("kind", ["photos", "store"])
def test_a_repetition_depends_on_seed_epoch_and_index_alone(unbalanced, kind):
    data = module(unbalanced / kind, sampler="balanced")
    keys = list(data.train_dataloader().sampler)
    dataset = data._dataset("train")
    together = samples(data)[2]

    def alone(key):
        read = dataset.__getitems__([key]) if kind == "store" else dataset.collate([dataset[key]])
        return dataset.to_device(read["payload"])[0]

    for place in (0, 5, 27):
        assert torch.allclose(alone(keys[place]), together[place], atol=1e-3)  # the DCT of a batch sums otherwise


def test_the_first_time_a_balanced_epoch_reads_a_file_the_crop_is_that_of_a_shuffled_epoch(unbalanced):
    balanced, shuffled = (module(unbalanced / "photos", sampler=each) for each in ("balanced", "shuffle"))
    index, _, inputs = samples(shuffled)
    crops = dict(zip(index.tolist(), inputs, strict=True))
    keys = list(balanced.train_dataloader().sampler)
    first = [place for place, (_, key) in enumerate(keys) if key < 28]
    inputs = samples(balanced)[2]
    assert first
    assert all(torch.allclose(inputs[place], crops[keys[place][1]], atol=1e-3) for place in first)


def test_weights_are_in_inverse_proportion_to_the_number_of_training_images(unbalanced):
    data = module(unbalanced / "photos", class_weights="balanced")
    weights = data.loss_weights()
    # images / (classes · images of the class), as scikit-learn's class_weight="balanced"
    assert weights.tolist() == pytest.approx([28 / (3 * 20), 28 / (3 * 6), 28 / (3 * 2)])
    assert module(unbalanced / "photos").loss_weights() is None
    assert module(unbalanced / "store", class_weights="balanced").loss_weights().equal(weights)


def test_the_mean_weight_of_an_image_is_one_and_a_class_without_images_has_none():
    targets = [0] * 5 + [3] * 2 + [1]
    weights = balanced_weights(targets, 5)
    assert sum(weights[target] for target in targets) / len(targets) == pytest.approx(1)
    assert weights[2] == weights[4] == 0


def test_both_at_once_are_refused(unbalanced):
    with pytest.raises(UserError, match="would count small classes twice: give one of the two"):
        module(unbalanced / "photos", sampler="balanced", class_weights="balanced")
