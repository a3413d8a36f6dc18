"""A signal in the middle of a study, for tests within one process."""


class LateSignal:
    """Stands for a SignalRecorder that receives SIGTERM at a look at it.

    Args:
        after: Number of looks without a signal.
    """

    def __init__(self, after: int) -> None:
        self.looks, self.after = 0, after

    @property
    def received(self) -> int | None:
        """15 after a number of looks."""
        self.looks += 1
        return 15 if self.looks > self.after else None
