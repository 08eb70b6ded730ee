"""Owns how answers look to callers: one module for each dialect, found through `ANSWERS`."""

from collections.abc import Sequence
from typing import Final

from schemas.bus.frames import Job
from workers.answers.base import Answer
from workers.answers.chat import ChatAnswer
from workers.answers.completions import CompletionsAnswer
from workers.answers.messages import MessagesAnswer
from workers.answers.responses.answer import ResponsesAnswer
from workers.answers.vectors import VectorsAnswer

# In the order of `schemas.dialects`: a new dialect is its module and a line here.
ANSWERS: Final[tuple[type[Answer], ...]] = (ChatAnswer, CompletionsAnswer, ResponsesAnswer, MessagesAnswer)
_BY_DIALECT: Final = {answer.dialect: answer for answer in ANSWERS}


def speaks(dialect: str) -> bool:
    """Whether answers can be made in a dialect: a newer edge may know more of them."""
    return dialect in _BY_DIALECT or dialect == VectorsAnswer.dialect


def terminal(dialect: str) -> tuple[bytes, ...]:
    """How the first of a stream's last events may begin, in a dialect: they are sent once the bill is durable."""
    made = _BY_DIALECT.get(dialect)  # vectors have no streams
    return made.terminal if made is not None else ()


def answers(job: Job, exchanges: int = 1, echoes: Sequence[str] = ()) -> list[Answer]:
    """One answer for each exchange of a job, in order, in the job's dialect. Raises KeyError for one that is not there.

    `echoes` holds the prompts to repeat before each text.
    """
    return list(_BY_DIALECT[job.dialect].of_job(job, exchanges, echoes))
