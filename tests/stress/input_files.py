"""Every kind of input file through every reader: outcome, seconds of computing, memory, as a table.

    python -m tests.stress.input_files --out TABLE.md

The kinds, and the outcomes that they must have, are those of `tests/corpus/table.py`. Each file is read in a process of
its own. A cell says what became of it, in how many seconds of processor time, and with how many MB beyond those of the
process before. Besides, the largest files that are read at all are measured; they have no limit to keep.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.corpus.cost import costs
from tests.corpus.kind import Kind
from tests.corpus.make import flat, plain
from tests.corpus.table import KINDS, READERS

SECONDS, MEGABYTES = 2.0, 500.0
LARGEST = {
    "128 scans of 4000×4000": Kind(partial(flat, 4000, 4000, 0xC2, scans=128)),
    "grey JPEG of 134 megapixels": Kind(partial(flat, 11585, 11585)),
    "progressive grey JPEG of 134 megapixels": Kind(partial(flat, 11585, 11585, 0xC2, scans=16)),
    "PNG of 134 megapixels": Kind(partial(plain, "PNG", 11585), "not a JPEG file"),
    "JPEG of 134 megapixels, 4:4:4": Kind(partial(plain, "JPEG", 11585, subsampling="4:4:4")),
}
Row = tuple[str, str, str, float, float]


def faults(kind: Kind, row: Row) -> Iterator[str]:
    """What is not as it must be."""
    name, reader, outcome, seconds, megabytes = row
    (became, _, words), (_, _, reason) = (text.partition(": ") for text in (kind.expected(reader), outcome))
    if not outcome.startswith(became) or words not in reason or "\n" in outcome:
        yield f"{name}, {reader}: {outcome!r} where {kind.expected(reader)!r} was expected"
    if name in KINDS and (seconds > SECONDS or megabytes > MEGABYTES):
        yield f"{name}, {reader}: {seconds:.2f} s, {megabytes:.0f} MB"


def cell(kind: Kind, row: Row) -> str:
    """A row's outcome and cost; damage that is shown without a word is marked."""
    _, reader, outcome, seconds, megabytes = row
    became = outcome.replace("|", "/").replace("read", "**read, damage unseen**") if reader in kind.unseen else outcome
    return f"{became}; {seconds:.2f} s, {max(0, megabytes):.0f} MB"


def main() -> int:
    """Prints a summary, and writes the table; 1 if anything was not as expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    kinds = KINDS | LARGEST
    if os.geteuid() == 0:
        print("not to be read: not measured, root may read anything")
        del kinds["not to be read"]
    rows = list(costs(kinds))
    lines = ["| kind | " + " | ".join((*READERS, "pack")) + " |", "|---" * 5 + "|"]
    for name, kind in kinds.items():
        cells = [cell(kind, row) for row in rows if row[0] == name]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    given.out.write_text("\n".join(lines) + "\n")
    found = [fault for row in rows for fault in faults(kinds[row[0]], row)]
    print("\n".join(found))
    for title, names in (("kinds", set(KINDS)), ("largest files", set(LARGEST))):
        own = [row for row in rows if row[0] in names]
        slowest, widest = max(own, key=lambda row: row[3]), max(own, key=lambda row: row[4])
        print(
            f"{title}: {len(own) // 4} × {len(READERS) + 1} readers; at most {slowest[3]:.2f} s ({slowest[0]}, "
            f"{slowest[1]}) and {widest[4]:.0f} MB ({widest[0]}, {widest[1]})"
        )
    print(f"{len(found)} not as expected")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
