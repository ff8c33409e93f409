"""A model on the Hugging Face hub: an export, and the model card as its page."""

import tempfile
from pathlib import Path

from learner.errors import ModelError
from learner.exports import Export, export
from learner.exports.formats import FORMATS
from learner.jobs.process import Tell
from learner.report.model_card import make_card
from learner.store import Store

KINDS = ("hf", "safetensors")
"""What can be pushed: what timm opens by its name, and for every other head what comes with the lines that open it."""


def write_card(store: Store, run_id: int, folder: Path, kind: str, repository: str = "") -> None:
    """Put the README.md into an export's folder."""
    (folder / "README.md").write_text(make_card(store, run_id, kind, repository), "utf-8")


def push(
    store: Store,
    run_id: int,
    repository: str,
    kind: str,
    coverage: float,
    private: bool = False,
    tell: Tell = lambda text: None,
) -> tuple[Export, str]:
    """Export a run's model, prove it, and put it with its card into a repository; returns the export and its address.

    `repository` is `OWNER/NAME`, or `NAME` for one's own; it is made where it is not there. The hub's client finds the
    token (`HF_TOKEN`, or `hf auth login`). Raises ModelError.
    """
    from huggingface_hub import HfApi, constants

    if kind not in KINDS:
        raise ModelError(
            f"{FORMATS[kind].name} is not what the hub's visitors open. Push {' or '.join(KINDS)} instead."
        )
    if constants.is_offline_mode():
        raise ModelError("The hub was not asked, because HF_HUB_OFFLINE is set. Take it away to push.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        if kind == "safetensors":
            folder.mkdir()
        made = export(store, run_id, kind, folder, coverage, tell)
        tell(f"Sending it to {constants.ENDPOINT}")
        try:
            api = HfApi(library_name="thaw")
            where = api.create_repo(repository, private=private, exist_ok=True)
            write_card(store, run_id, folder, kind, where.repo_id)
            api.upload_folder(
                repo_id=where.repo_id, folder_path=folder, commit_message=f"Run {run_id} of Thaw", run_as_future=False
            )
        except Exception as error:  # the client's network, disk and access errors have no common class
            raise ModelError(
                f"{repository} could not be pushed to {constants.ENDPOINT}: {_line(error)}. Check its name, and that "
                "HF_TOKEN holds a token that may write (or run: hf auth login)."
            ) from error
    return made, f"{constants.ENDPOINT}/{where.repo_id}"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
