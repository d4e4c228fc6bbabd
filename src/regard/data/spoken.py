"""Built-in recordings to transcribe: short texts spoken by eSpeak NG, which an optional package brings."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from functools import lru_cache
from typing import Any

import numpy as np

from regard.data import cldr
from regard.data.codec import digest
from regard.data.morse import short_texts
from regard.data.ragged import Ragged
from regard.data.recordings import Recordings
from regard.errors import UserError, require

_VOICES = tuple(f"{accent}+{who}" for accent in ("en-us", "en") for who in ("m1", "m3", "m7", "f2", "f4"))
_WORDS_PER_MINUTE = (130, 210)
_PITCH = (30, 70)
"""Of 0 to 100."""
_NOISE = (0.0, 0.02)
_SYNCHRONOUS, _CHARACTER, _UTF8 = 2, 1, 1
_RATE_PARAMETER, _PITCH_PARAMETER = 1, 3
"""Constants of eSpeak NG's speak_lib.h."""


@lru_cache(maxsize=4)
def spoken(count: int, rate: int, *, split: cldr.Split = "train", longest: int = 24, seed: int = 0) -> Recordings:
    """``count`` different English texts of the CLDR in small letters, each with its own voice, speed, pitch and noise.

    Args:
        count: their number.
        rate: samples per second.
        split: ``"train"``, ``"valid"`` or ``"test"``; a text is in only one of them.
        longest: the largest number of characters of a text.
        seed: of the texts and the sounds.

    Raises:
        UserError: ``espeakng-loader``, ``soxr`` or Babel is not installed, or eSpeak NG does not start.
        ValueError: the split has fewer texts.
    """
    soxr: Any = require("soxr", "espeak", "resampling sounds")
    texts, speaker = short_texts(count, split, longest, seed), _Speaker()
    random = np.random.default_rng([seed, ("train", "valid", "test").index(split), 37])
    values, names = list[np.ndarray](), list[str]()
    for text in texts:
        voice = str(random.choice(_VOICES))
        x = speaker.say(text, voice, int(random.integers(*_WORDS_PER_MINUTE)), int(random.integers(*_PITCH)))
        x = soxr.resample(x.astype(np.float32) / 2**15, speaker.rate, rate)
        x = x / np.abs(x).max() + random.uniform(*_NOISE) * random.standard_normal(len(x), dtype=np.float32)
        values.append(np.round(x * (32767 / np.abs(x).max())).astype(np.int16))
        names.append(voice)
    return Recordings(Ragged.of(values), texts, tuple(map(digest, values)), tuple(names))


class _Speaker:
    """eSpeak NG, from its initial state.

    Attributes:
        rate: samples per second.
    """

    def __init__(self) -> None:
        loader: Any = require("espeakng_loader", "espeak", "speaking the built-in texts")
        # Its output depends on what it said before, by variables that it never resets; a copy of the file has its own.
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                self._library = ctypes.CDLL(shutil.copy(loader.get_library_path(), folder))
        except OSError as error:
            raise UserError(f"eSpeak NG cannot be loaded: {error}") from error
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0)
        if self.rate <= 0:
            raise UserError("eSpeak NG does not start; install espeakng-loader anew")
        self._blocks = list[np.ndarray]()
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._take)  # kept as long as the library calls it
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str, words_per_minute: int, pitch: int) -> np.ndarray:
        """The samples of a text, int16. Raises UserError: there is no such voice, or nothing is said."""
        self._blocks.clear()
        content = text.encode()
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # of the breath of some voices
        failed = self._library.espeak_SetVoiceByName(voice.encode())
        self._library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH_PARAMETER, pitch, 0)
        failed = failed or self._library.espeak_Synth(
            content, ctypes.c_size_t(len(content) + 1), 0, _CHARACTER, 0, _UTF8, None, None
        )
        if failed or not self._blocks:
            raise UserError(f"eSpeak NG cannot say {text!r} with the voice {voice}")
        return np.concatenate(self._blocks)
