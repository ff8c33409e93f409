"""Imports in processes of their own: closing the browser or restarting the web process changes nothing for them.

`processes` runs any kind of job; `imports` is what pages know of imports, `import_steps` what their processes do;
`checks` are the other kind.
"""

from learner.datasets.jobs.imports import (
    ImportJob,
    cancel,
    dismiss,
    import_found,
    job,
    jobs,
    listing,
    start_import,
    start_look,
)

__all__ = [
    "ImportJob",
    "cancel",
    "dismiss",
    "import_found",
    "job",
    "jobs",
    "listing",
    "start_import",
    "start_look",
]
