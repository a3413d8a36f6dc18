"""What is never an image: files of systems, editors and NAS boxes, and results of dctnet, at any depth."""

import json

import pytest

from dctnet.data.folders import class_folders, list_tree, other_folders
from dctnet.data.ignored import mark_as_own
from dctnet.data.sources import PhotoSource

RUBBISH_FILES = (
    ".DS_Store", "._0.jpg", "Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "Icon\r", "0.jpg~",
    "#0.jpg#", ".0.jpg.swp", "~$table.xlsx", "0.jpg:Zone.Identifier", "SHA256SUMS", ".nfs0001", "Picasa.ini",
)  # fmt: skip
RUBBISH_FOLDERS = (
    "__MACOSX", "@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
    ".ipynb_checkpoints", "__pycache__", ".git", ".svn", ".Trash-1000", ".thumbnails", ".AppleDouble", "#snapshot",
)  # fmt: skip
RUN = b"# pytorch_lightning==2.6.6\nseed_everything: 0\n"
# Files that each kind of folder has, also those of earlier versions.
RESULTS = {
    "version_0": {"config.yaml": RUN, "last.ckpt": b"", "mask.png": b""},
    "marked": {".dctnet": b"", "mask.png": b""},
    "experiment": {"version_0/config.yaml": RUN, "version_0/mask.png": b"", "version_1/.dctnet": b""},
    "checkpoints": {"run/version_0/config.yaml": RUN, "README.md": b"", "log.txt": b""},
    "store": {"manifest.json": b'{"format": "dctnet-packed"}', "train-00000.bin": b""},
    "packing": {"plan.json": b'{"made_with": {"dctnet": "0.1"}}', "train-00000.bin": b""},
    "benchmark": {"grid.yaml": b"data: {}\nranking: {}\n", "images.csv": b"", "figures/cost.png": b""},
    "trial": {"fit.yaml": b"seed_everything: 0\n", "log.txt": b""},
    "weights": {"epoch=1-step=2.ckpt": b""},
    "logs": {"lightning_logs/version_0/metrics.csv": b"", "wandb/latest/x.png": b""},
    "own csv": {"exp/version_0/metrics.csv": b"", "exp/version_0/hparams.yaml": b"{}\n"},
    "own tensorboard": {"exp/version_0/events.out.tfevents.1.host.2.0": b""},
}


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def flat(tmp_path):
    """Two classes of two files."""
    write(tmp_path, {f"{name}/{number}.jpg": b"" for name in ("ant", "bee") for number in range(2)})
    return tmp_path


def listing(root):
    return class_folders(root), list_tree(root).paths, PhotoSource(root, val_fraction=0.3).fingerprint()


@pytest.mark.parametrize("depth", ["", "ant", "ant/deep"])
def test_rubbish_at_any_depth_changes_no_listing_and_no_split(flat, depth):
    before = listing(flat)
    write(flat / depth, dict.fromkeys(RUBBISH_FILES, b""))
    for name in RUBBISH_FOLDERS:
        write(flat / depth / name, {"0.jpg": b"", "deep/1.jpg": b""})
    assert listing(flat) == before


def test_names_that_only_resemble_rubbish_are_classes(flat):
    names = ["#1", "A#", "CVS", "MACOSX", "Recycled", "c~at", "lost", "trash"]
    write(flat, {f"{name}/0.jpg": b"" for name in names})
    assert class_folders(flat) == sorted(["ant", "bee", *names])
    write(flat / "CVS", {"Entries": b""})
    assert "CVS" not in class_folders(flat)


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("depth", ["", "ant", "ant/deep"])
def test_results_of_trainings_are_never_images(flat, kind, depth):
    before = listing(flat)
    write(flat / depth / kind, RESULTS[kind])
    assert listing(flat) == before
    if not depth:
        assert other_folders(flat, ["ant", "bee"]) == [kind]


def test_the_folder_of_a_run_that_has_just_begun_is_no_class(flat):
    (flat / "checkpoints" / "run" / "version_0").mkdir(parents=True)
    assert class_folders(flat) == ["ant", "bee"]


def test_a_linked_result_is_not_an_image(flat, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    write(run, RESULTS["version_0"])
    before = listing(flat)
    (flat / "ant" / "run").symlink_to(run)
    (flat / "run").symlink_to(run)
    assert listing(flat) == before


def test_files_of_dctnet_beside_photographs_are_not_images(flat):
    before = listing(flat)
    mask = json.dumps({"channels": list(range(192)), "format": "dctnet-mask"}).encode()
    table = b"path,label,probability,top5\r\n"
    write(flat / "ant", {"m.json": mask, "m.png": b"", "p.csv": table, "q.txt": table, "old.ckpt": b""})
    assert listing(flat) == before


def test_files_of_others_with_the_same_names_are_not_left_out(flat):
    write(
        flat / "ant", {"config.yaml": b"a: 1", "manifest.json": b"[]", "p.csv": b"a,b", "m.json": b"{}", "m.png": b""}
    )
    assert len(list_tree(flat / "ant").paths) == 7


def test_a_class_with_photographs_is_one_even_if_a_run_is_in_it(flat):
    (flat / "ant" / "run").mkdir()
    mark_as_own(flat / "ant" / "run")
    assert class_folders(flat) == ["ant", "bee"]
