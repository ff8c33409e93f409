"""Data sets: import from folders, archives and the web, layouts, checks, edits, thumbnails, splits, figures.

`jobs` runs imports in processes of their own; it is imported by its own name. Nothing here imports torch or Streamlit.
"""

from learner.datasets.files import bring_files, bring_images, image_path, thumbnail_path
from learner.datasets.importing import ImportProgress, add_dataset
from learner.datasets.names import check_name, dataset_folder, natural_key
from learner.datasets.samples import SAMPLE_NAME, add_sample
from learner.datasets.splits import (
    Split,
    assign_folds,
    describe_split,
    draw_test_set,
    held_back_by,
    split_by,
    train_valid_split,
)
from learner.datasets.summary import Summary, summarize
from learner.datasets.uploads import remove_upload, save_uploads

__all__ = [
    "SAMPLE_NAME",
    "ImportProgress",
    "Split",
    "Summary",
    "add_dataset",
    "add_sample",
    "assign_folds",
    "bring_files",
    "bring_images",
    "check_name",
    "dataset_folder",
    "describe_split",
    "draw_test_set",
    "held_back_by",
    "image_path",
    "natural_key",
    "remove_upload",
    "save_uploads",
    "split_by",
    "summarize",
    "thumbnail_path",
    "train_valid_split",
]
