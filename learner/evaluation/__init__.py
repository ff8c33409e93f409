"""Metrics, intervals, paired comparisons, results on disk, Grad-CAM, the history of a run."""
