"""Every file of the corpus through every reader: outcome, CPU time and memory, as a table.

    python -m tests.stress.input_files --out TABLE.md

The files and their expected outcomes are in `tests/corpus/table.py`. Each file is read in a process of its own. A cell
of the table has the outcome, seconds of CPU time, and MB beyond those of the process before. The largest files that are
read are measured too; their cost has no limit.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.corpus.cost import costs
from tests.corpus.table import CORPUS, LARGEST, READERS, CorpusFile

SECONDS, MEGABYTES = 2.0, 500.0
Row = tuple[str, str, str, float, float]


def faults(file: CorpusFile, row: Row) -> Iterator[str]:
    """Deviations from the expected outcome and from the limits."""
    name, reader, outcome, seconds, megabytes = row
    (became, _, words), (_, _, reason) = (text.partition(": ") for text in (file.expected(reader), outcome))
    if not outcome.startswith(became) or words not in reason or "\n" in outcome:
        yield f"{name}, {reader}: {outcome!r} where {file.expected(reader)!r} was expected"
    if name in CORPUS and (seconds > SECONDS or megabytes > MEGABYTES):
        yield f"{name}, {reader}: {seconds:.2f} s, {megabytes:.0f} MB"


def cell(file: CorpusFile, row: Row) -> str:
    """Outcome and cost; undetected damage is marked."""
    _, reader, outcome, seconds, megabytes = row
    outcome = outcome.replace("|", "/")
    if reader in file.undetected:
        outcome = outcome.replace("read", "**read, damage undetected**")
    return f"{outcome}; {seconds:.2f} s, {max(0, megabytes):.0f} MB"


def main() -> int:
    """Writes the table and prints a summary; returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    files = CORPUS | LARGEST
    if os.geteuid() == 0:
        print("without read permission: not measured, root can read every file")
        del files["without read permission"]
    rows = list(costs(files))
    lines = ["| file | " + " | ".join(READERS) + " |", "|---" * (len(READERS) + 1) + "|"]
    for name, file in files.items():
        cells = [cell(file, row) for row in rows if row[0] == name]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    options.out.write_text("\n".join(lines) + "\n")
    found = [fault for row in rows for fault in faults(files[row[0]], row)]
    print("\n".join(found))
    for title, names in (("corpus", set(CORPUS)), ("largest files", set(LARGEST))):
        own = [row for row in rows if row[0] in names]
        slowest, widest = max(own, key=lambda row: row[3]), max(own, key=lambda row: row[4])
        print(
            f"{title}: {len(own) // len(READERS)} × {len(READERS)} readers; at most {slowest[3]:.2f} s "
            f"({slowest[0]}, {slowest[1]}) and {widest[4]:.0f} MB ({widest[0]}, {widest[1]})"
        )
    print(f"{len(found)} not as expected")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
