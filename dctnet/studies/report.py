"""dctnet report: makes pages again from rows, for benchmarks and across studies of the laboratory."""

from pathlib import Path

from dctnet.errors import UserError, no_folder, printable
from dctnet.studies.accuracy.report import report as accuracy
from dctnet.studies.laboratory.sensitivity.summary.page import write_summary
from dctnet.studies.laboratory.study import STUDY, read_content


def report(folder: str) -> None:
    """Makes the page of a benchmark from its ``rows.csv`` and the files beside it, or one page across several studies.

    Args:
        folder: A benchmark's folder, or a copy of its files without the runs; a folder of several benchmarks, one for
            each data set, which also gets a page across all; or a folder of several ``dctnet lab sensitivity`` folders.

    Raises:
        UserError: There is no row, or a file is damaged.
    """
    path = Path(folder)
    if not path.is_dir():
        raise no_folder(folder)
    if (path / STUDY).is_file():
        name = read_content(path / STUDY)["study"]
        raise UserError(
            f"{folder}: a study of {name}; to make its page again, repeat its command with --out {folder}. A page "
            f"across several needs the folder that they are in, {path.resolve().parent}"
        )
    studies = sorted(each.parent for each in path.glob(f"*/{STUDY}"))
    pages = [_across(path, studies)] if studies else accuracy.write_reports(path)
    for written in pages:
        print(f"report: {printable(str(written))}")


def _across(path: Path, studies: list[Path]) -> Path:
    names = {each: read_content(each / STUDY)["study"] for each in studies}
    if other := next((each for each, name in names.items() if name != "sensitivity"), None):
        raise UserError(f"{other}: a study of {names[other]}; only those of sensitivity have a page across several")
    return write_summary(path, studies)
