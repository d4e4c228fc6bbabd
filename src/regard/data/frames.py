"""Clips as frames: folders of images, animations, and video files."""

from __future__ import annotations

import io
import os
import re
import warnings
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from regard.data import packed
from regard.data.clips import ClipCodec
from regard.data.codec import version_of
from regard.data.file_trees import BadItem, read_file
from regard.data.image_files import HEAD, decode_frames, image_format, squared, why_not
from regard.errors import require

_VIDEO = re.compile(
    rb"....ftyp(?!avif|avis|heic|heix|mif1|msf1)|\x1a\x45\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]|FLV|....moov|"
    rb"\x30\x26\xb2\x75",
    re.DOTALL,
)
"""MP4 and MOV, Matroska and WebM, AVI, MPEG, FLV and WMV."""

_ENDINGS = (".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_MISSING = 0.05
"""The share of the time of a video that may be missing at its end, because containers give it roughly."""


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
            if is_video(content[:HEAD]):
                return open_video(io.BytesIO(content), self.size, every=self.every, longest=self.longest)
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

    def open_path(self, path: str) -> np.ndarray:
        """See `ClipCodec`; a video file, which can be large, is read piece by piece."""
        if os.path.isfile(path) and is_video(read_file(path, HEAD)):
            with open(path, "rb") as file:
                return open_video(file, self.size, every=self.every, longest=self.longest)
        return super().open_path(path)

    def examine(self, name: str, head: bytes) -> bool:
        """See `ClipCodec`."""
        if head.startswith(packed.HEAD) or is_video(head) or image_format(head) is not None:
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


def is_video(head: bytes) -> bool:
    """Whether a file with these first bytes is a video."""
    return _VIDEO.match(head) is not None


def is_still(head: bytes) -> bool:
    """Whether a file with these first bytes is an image and no animation."""
    kind = image_format(head)
    animated = kind == "GIF" or (kind == "WebP" and head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 2))
    return kind is not None and not animated


def open_video(content: IO[bytes], size: int, *, every: int, longest: int) -> np.ndarray:
    """The frames of a video file: see `regard.data.image_files.decode_frames`.

    Raises:
        BadItem: it is damaged or incomplete, or has no frames.
        UserError: PyAV is not installed.
    """
    av: Any = require("av", "video", "reading video files")
    frames: list[np.ndarray] = []
    try:
        with warnings.catch_warnings(), av.open(content) as file:
            if not file.streams.video:
                raise BadItem(
                    "has no video, only sound" if file.streams.audio else "has no video; it may be incomplete"
                )
            for number, frame in enumerate(file.decode(video=0)):
                if number % every == 0:
                    frames.append(squared(frame.to_ndarray(format="rgb24").transpose(2, 0, 1), size))
                if len(frames) == longest:
                    break
            else:
                if frames:
                    _check_end(file, frame, number + 1)
    except (av.FFmpegError, ValueError, MemoryError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise BadItem(f"cannot be read as a video, because it is damaged or incomplete: {why}") from error
    if not frames:
        raise BadItem("has no frames")
    return np.stack(frames)


def _check_end(file: Any, last: Any, count: int) -> None:
    """Raises BadItem: the last frame of a video comes long before the end that its container tells, if it does."""
    stream = file.streams.video[0]
    if stream.duration is not None:
        seconds = float(stream.duration * stream.time_base)
    elif file.duration is not None and len(file.streams) == 1:  # with sound, it is that of the longer one
        seconds = file.duration / 1e6
    else:
        return
    if stream.average_rate and seconds:
        one = 1 / float(stream.average_rate)
        begin = float((stream.start_time or 0) * stream.time_base)
        end = count * one if last.time is None else last.time - begin + one
        if end < seconds - max(1.5 * one, _MISSING * seconds):
            raise BadItem(f"is incomplete: its {count:,} frames end after {end:.1f} of {seconds:.1f} seconds")
