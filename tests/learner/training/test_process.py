"""How a run ends is told in words a person understands."""

import pytest
import torch

from learner.errors import ImageError
from learner.training.process import _in_words, _message


class Unreadable(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int):
        raise ImageError("cat.jpg is cut short. Save it again.")


def test_an_error_of_a_loading_process_is_told_without_its_traceback():
    with pytest.raises(ImageError) as raised:
        next(iter(torch.utils.data.DataLoader(Unreadable(), num_workers=1)))
    assert "Traceback" in str(raised.value)
    assert _message(raised.value) == "cat.jpg is cut short. Save it again."


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "Memory ran out, even with the smallest batch. Use a smaller image"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "Memory ran out"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), "Memory ran out"),
        (OSError(28, "No space left on device"), "The disk is full. Free some space and resume the run"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "The disk is full."),
        (ValueError("x"), "Something went wrong inside Thaw (ValueError). The run's log has the details."),
    ],
)
def test_what_is_no_error_of_ours_gets_a_sentence_too(error, says):
    assert _in_words(error).startswith(says)
