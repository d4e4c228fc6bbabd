"""Loads a model of Hugging Face and what makes its inputs, without its repository's code and without pickles."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from regard.errors import UserError, require
from regard.integrations.transformers import enable

T = TypeVar("T")

SOUND = ("input_features", "input_values")
"""What models of sounds take: features, or samples."""


def load_parts(name: str) -> tuple[Any, Any]:
    """The model, for evaluation, and its tokenizer, image processor or feature extractor; of sounds, the encoder only.

    Args:
        name: a folder, or a name on the hub.

    Raises:
        UserError: there is no such model, it takes neither text nor images nor sounds, its weights are not safetensors,
            its tokenizer is missing, or the extra ``hf`` is not installed.
    """
    transformers = require("transformers", "hf", "looking into a model of Hugging Face")
    enable()
    where, options = options_for(name)
    with quiet(transformers):
        config = attempt(name, "config.json", lambda: transformers.AutoConfig.from_pretrained(where, **options))
        writes = type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
        kind = transformers.AutoModelForSeq2SeqLM if writes else transformers.AutoModel
        model = attempt(name, "its weights", lambda: kind.from_pretrained(where, use_safetensors=True, **options))
        takes = model.main_input_name
        if takes not in ("input_ids", "pixel_values", *SOUND):
            raise UserError(
                f"{name}: {type(model).__name__} takes {takes}, expected a model of text, images or sounds; in Python, "
                "regard.looking looks into any model"
            )
        if takes in SOUND:
            processor = attempt(
                name,
                "its feature extractor",
                lambda: transformers.AutoFeatureExtractor.from_pretrained(where, **options),
            )
            if model.config.is_encoder_decoder:
                model = model.get_encoder()
        elif takes == "pixel_values":
            require("PIL", "image", "reading an image")
            processor = attempt(
                name, "its image processor", lambda: transformers.AutoImageProcessor.from_pretrained(where, **options)
            )
        else:
            processor = load_tokenizer(name)
    return model.eval(), processor


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model. Raises UserError: it has none, or it cannot be used."""
    import transformers

    where, options = options_for(name)
    tokenizer = attempt(name, "its tokenizer", lambda: transformers.AutoTokenizer.from_pretrained(where, **options))
    # transformers makes a tokenizer without a vocabulary if a folder has none.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UserError(f"{name}: has no tokenizer; expected one beside the weights, such as tokenizer.json")
    return tokenizer


def options_for(name: str) -> tuple[str, dict[str, Any]]:
    """The folder or the name on the hub, and the options of transformers with which it is read.

    Raises:
        UserError: it can be neither.
    """
    where = _where(name)
    return where, {"trust_remote_code": False, "local_files_only": where != name or Path(name).is_dir()}


def attempt(name: str, what: str, make: Callable[[], T]) -> T:
    """What ``make`` returns. Raises UserError: it raised an error."""
    try:
        return make()
    except Exception as error:  # of a library that reads files of others, whose errors are of any kind
        text = str(error)
        if isinstance(error, RuntimeError) and "ignore_mismatched_sizes" in text:
            text = "they do not fit config.json"
        if "safetensors" in text and isinstance(error, OSError):
            text = "none are safetensors; regard reads no others, since they can contain code"
        if "trust_remote_code" in text:
            text = "the model needs code of its repository, which regard does not run"
        raise UserError(f"{name}: {what} cannot be used ({first_line(text) or type(error).__name__})") from error


def first_line(text: str) -> str:
    """The first line of a message of another library; empty: it has none.

    >>> first_line("\\n no such file \\n")
    'no such file'
    """
    return next(iter(text.strip().splitlines()), "").strip()


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """In this block, transformers prints errors only, and bars of progress only on a terminal."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _where(name: str) -> str:
    """The folder, or the name on the hub. Raises UserError: it can be neither."""
    if not name:
        raise UserError("hf: needs the folder of a model of Hugging Face or its name on the hub, as in hf:FOLDER")
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{name}: has no config.json; expected the folder of a model of Hugging Face")
        return str(path)
    if path.exists():
        raise UserError(f"{name}: is a file; expected the folder of a model of Hugging Face")
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such folder; expected the folder of a model, or a name on the hub")
    return name
