"""Clips as frames: folders of images, animations, and video files."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from regard.data import packed
from regard.data.clips import ClipCodec
from regard.data.codec import version_of
from regard.data.file_trees import BadItem
from regard.data.image_files import HEAD, decode_frames, image_format, squared, why_not
from regard.errors import require

_VIDEO = re.compile(
    rb"....ftyp(?!avif|avis|heic|heix|mif1|msf1)|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]|FLV|....moov|"
    rb"\x30\x26\xb2\x75",
    re.DOTALL,
)
"""MP4 and MOV, Matroska and WebM, AVI, MPEG, FLV and WMV."""

_ENDINGS = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


@dataclass(frozen=True)
class FrameCodec(ClipCodec):
    """Clips as frames, cropped to the middle square and scaled: uint8 ``(frames, 3, size, size)``.

    Attributes:
        size: height and width.
    """

    dtype = np.uint8
    head = HEAD

    size: int = 32

    @property
    def depends_on(self) -> tuple[object, ...]:
        """See `regard.data.codec.Codec`."""
        return "frames", self.every, self.longest, self.size, version_of("pillow"), version_of("av")

    def open(self, content: bytes) -> np.ndarray:
        """See `ClipCodec`."""
        if not content.startswith(packed.HEAD):
            if _VIDEO.match(content[:HEAD]):
                return open_video(content, self.size, every=self.every, longest=self.longest)
            return decode_frames(content, self.size, every=self.every, longest=self.longest)
        frames = []
        files = [(name, one) for name, one in packed.unpack(content) if is_still(one[:HEAD])]
        for name, one in files[:: self.every][: self.longest]:
            try:
                frames.append(decode_frames(one, self.size, every=1, longest=1)[0])
            except BadItem as error:
                raise BadItem(f"{name}: {error}") from error
        if not frames:
            raise BadItem("a folder without images")
        return np.stack(frames)

    def examine(self, name: str, head: bytes) -> bool:
        """See `ClipCodec`."""
        if head.startswith(packed.HEAD) or _VIDEO.match(head) or image_format(head) is not None:
            return True
        if name.lower().endswith(_ENDINGS):
            raise BadItem("its content is not a video" if head else "the file is empty")
        reason = why_not(name, head)
        if reason is not None:
            raise BadItem(reason)
        return False

    def is_frame(self, name: str, head: bytes) -> bool:
        """See `ClipCodec`."""
        return is_still(head)

    def difference(self, shape: tuple[int, ...], other: tuple[int, ...]) -> str:
        """See `ClipCodec`."""
        return f"has frames of {shape[-1]} pixels, where the others have {other[-1]}"


def is_still(head: bytes) -> bool:
    """Whether a file with these first bytes is an image and no animation."""
    kind = image_format(head)
    animated = kind == "GIF" or (kind == "WebP" and head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2))
    return kind is not None and not animated


def open_video(content: bytes, size: int, *, every: int, longest: int) -> np.ndarray:
    """The frames of a video file: see `regard.data.image_files.decode_frames`.

    Raises:
        BadItem: it is damaged, or has no frames.
        UserError: PyAV is not installed.
    """
    av: Any = require("av", "video", "reading video files")
    frames: list[np.ndarray] = []
    try:
        with warnings.catch_warnings(), av.open(io.BytesIO(content)) as file:
            if not file.streams.video:
                raise BadItem("has no video, only sound")
            for number, frame in enumerate(file.decode(video=0)):
                if number % every == 0:
                    frames.append(squared(frame.to_ndarray(format="rgb24").transpose(2, 0, 1), size))
                if len(frames) == longest:
                    break
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise BadItem(f"cannot be read as a video: {str(error).splitlines()[0]}") from error
    if not frames:
        raise BadItem("has no frames")
    return np.stack(frames)
