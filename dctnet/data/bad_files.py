"""What there is to tell of single files, gathered while they are read."""

from collections import defaultdict
from collections.abc import Iterable


class BadFileLog:
    """Paths with a reason each, by kind: the split that a file was left out of, ``packing``, or ``by_pixels``.

    A file is noted once however often it is read. What is new can be taken, to be told to the other ranks.
    """

    def __init__(self) -> None:
        self._reasons: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._news: list[tuple[str, str, str]] = []

    def add(self, kind: str, found: Iterable[tuple[str, str]]) -> None:
        """Notes (path, reason) pairs."""
        for path, reason in found:
            if path not in self._reasons[kind]:
                self._reasons[kind][path] = reason
                self._news.append((kind, path, reason))

    def of(self, *kinds: str) -> dict[str, str]:
        """Path and reason of all that were noted as one of these kinds."""
        return {path: reason for kind in kinds for path, reason in self._reasons[kind].items()}

    def all(self) -> dict[str, dict[str, str]]:
        """Path and reason, by kind."""
        return {kind: dict(reasons) for kind, reasons in self._reasons.items()}

    def count(self, kind: str) -> int:
        """How many files were noted as one kind."""
        return len(self._reasons[kind])

    def take_news(self) -> list[tuple[str, str, str]]:
        """Kind, path and reason of all that was noted since the last call, :meth:`learn` apart."""
        news, self._news = self._news, []
        return news

    def learn(self, news: Iterable[tuple[str, str, str]]) -> None:
        """Notes what another rank took."""
        for kind, path, reason in news:
            self._reasons[kind].setdefault(path, reason)
