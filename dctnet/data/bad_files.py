"""Log of files that could not be read as configured: left out of a split, or read as pixels instead of coefficients."""

from collections.abc import Container, Iterable, Mapping

from dctnet.data.folders import Files


class BadFileLog:
    """Path and reason of each bad file, by kind; every file is logged once per kind.

    Kinds: ``train``, ``val``, ``test`` and ``predict`` for files left out of that split, ``packing`` for files left out
    of a packed store, ``by_pixels`` for files read as pixels although coefficients were requested.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, dict[str, str]] = {}
        self._new: list[tuple[str, str, str]] = []

    def add(self, kind: str, files: Iterable[tuple[str, str]]) -> None:
        """Logs (path, reason) pairs."""
        for path, reason in files:
            reasons = self._reasons.setdefault(kind, {})
            if path not in reasons:
                reasons[path] = reason
                self._new.append((kind, path, reason))

    def of_kind(self, kind: str) -> Mapping[str, str]:
        """Reason by path, of one kind."""
        return self._reasons.get(kind, {})

    def by_kind(self) -> dict[str, dict[str, str]]:
        """Reason by path, by kind: the checkpoint's ``left_out``."""
        return {kind: dict(reasons) for kind, reasons in self._reasons.items()}

    @property
    def left_out(self) -> dict[str, str]:
        """Reason by path, of all files left out."""
        kinds = ("packing", "train", "val", "test", "predict")
        return {path: reason for kind in kinds for path, reason in self.of_kind(kind).items()}

    def pop_new(self) -> list[tuple[str, str, str]]:
        """Kind, path and reason of the files added on this rank since the last call."""
        new, self._new = self._new, []
        return new

    def merge(self, new: Iterable[tuple[str, str, str]]) -> None:
        """Logs kind, path and reason of files from another rank or a checkpoint."""
        for kind, path, reason in new:
            self._reasons.setdefault(kind, {}).setdefault(path, reason)


def unreadable_classes(files: Files, bad: Container[str]) -> list[int]:
    """The classes that have files, but none that can be read."""
    readable = {target for path, target in zip(files.paths, files.targets, strict=True) if path not in bad}
    return sorted(set(files.targets) - readable)
