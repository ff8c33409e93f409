"""A batch as one model has answered it: what each picture was taken for, in words, as rows and as a file."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from learner.inference.batches import Answer, AnswersInfo, Batch, Mark, Picture, verdict
from learner.store import Run, Store
from learner.wording import percent


@dataclass(frozen=True)
class Answered:
    """What every part of the page that shows a batch needs."""

    store: Store
    run: Run
    model: str
    """The run's `batches.model_key`."""
    batch: Batch
    asked: AnswersInfo
    pictures: list[Picture]
    """Those that were answered for, and those that could not be read."""
    answers: dict[int, Answer]
    """By number of the picture, for each of `pictures`."""
    coverage: float
    """Share of known pictures that shall be answered, as it was chosen."""

    @cached_property
    def marks(self) -> dict[int, Mark]:
        """What a person said, by number of the picture."""
        return self.batch.marks()

    def answer(self, picture: Picture) -> Answer:
        return self.answers[picture.number]

    def is_none(self, picture: Picture) -> bool:
        """Whether it shows none of the classes."""
        return self.asked.is_none(self.answer(picture), self.coverage)

    def is_right(self, picture: Picture) -> bool | None:
        """As `batches.verdict`: None where nobody says."""
        return verdict(picture, self.answer(picture), self.marks.get(picture.number))

    def in_words(self, picture: Picture) -> str:
        """`cat 93.4 %`."""
        answer = self.answer(picture)
        if answer.error:
            return "not read"
        return "none of these" if self.is_none(picture) else f"{answer.classes[0]} {percent(answer.probs[0])}"

    def table_row(self, picture: Picture) -> dict[str, Any]:
        """What the table and the file hold of one picture."""
        answer = self.answer(picture)
        first, second = ([*zip(answer.classes, answer.probs, strict=True), ("", None), ("", None)])[:2]
        none = "" if answer.error or not self.asked.knows_none else "yes" if self.is_none(picture) else "no"
        return {
            "File": picture.name,
            "Answer": first[0],
            "Probability": first[1],
            "Second answer": second[0],
            "Its probability": second[1],
            "None of these": none,
            "Right or wrong": {True: "right", False: "wrong", None: ""}[self.is_right(picture)],
            "Not read because": answer.error,
        }

    def as_csv(self) -> str:
        """All of the batch, whatever the filter shows."""
        return pd.DataFrame(map(self.table_row, self.pictures)).to_csv(index=False, lineterminator="\r\n")
