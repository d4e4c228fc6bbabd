"""The list of all tasks, from which the commands, the contract tests and the documentation are made."""

from __future__ import annotations

from regard.errors import UserError
from regard.tasks.answer.settings import ANSWER
from regard.tasks.classify_image.settings import CLASSIFY_IMAGE
from regard.tasks.classify_sound.settings import CLASSIFY_SOUND
from regard.tasks.classify_text.settings import CLASSIFY_TEXT
from regard.tasks.classify_video.settings import CLASSIFY_VIDEO
from regard.tasks.detect.settings import DETECT
from regard.tasks.generate.settings import GENERATE
from regard.tasks.match.settings import MATCH
from regard.tasks.recommend.settings import RECOMMEND
from regard.tasks.spec import TaskSpec
from regard.tasks.summarize.settings import SUMMARIZE
from regard.tasks.transcribe.settings import TRANSCRIBE
from regard.tasks.translate.settings import TRANSLATE

TASKS: tuple[TaskSpec, ...] = (
    TRANSLATE, SUMMARIZE, GENERATE, CLASSIFY_IMAGE, CLASSIFY_TEXT, CLASSIFY_SOUND, CLASSIFY_VIDEO, TRANSCRIBE, ANSWER,
    RECOMMEND, DETECT, MATCH,
)  # fmt: skip


def spec_of(name: str) -> TaskSpec:
    """The task called ``name``. Raises UserError: there is none.

    >>> spec_of("translate").verb.options.__name__
    'TranslateOptions'
    """
    for spec in TASKS:
        if spec.name == name:
            return spec
    raise UserError(f"task: expected one of {', '.join(spec.name for spec in TASKS)}, got {name!r}")
