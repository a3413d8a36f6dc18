"""What a kind of file is: how one comes about, and what each reader is to make of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of file, and its outcome for each reader.

    Args:
        content: Returns the bytes; or, given a path, puts something else there (``special``).
        pixels: In words of the reason, why TurboJPEG and coefficients leave it to Pillow.
        left_out: In words of the reason, why no reader takes it; or by reader, where they differ.
        unseen: Readers that show the file's damage without a word: nothing but a checksum could tell.
        special: Whether ``content`` takes a path.
        ending: Of the file's name.
    """

    content: Callable[..., bytes | None]
    pixels: str = ""
    left_out: str | dict[str, str] = ""
    unseen: tuple[str, ...] = ()
    special: bool = False
    ending: str = ".jpg"

    def expected(self, reader: str) -> str:
        """``read``, ``by pixels: words``, or ``left out: words``."""
        words = self.left_out if isinstance(self.left_out, str) else self.left_out.get(reader, "")
        if words:
            return f"left out: {words}"
        return f"by pixels: {self.pixels}" if self.pixels and reader in ("turbojpeg", "coefficients") else "read"

    def write(self, path: Path) -> None:
        """Puts a file of this kind there."""
        if self.special:
            self.content(path)
        else:
            path.write_bytes(self.content() or b"")
