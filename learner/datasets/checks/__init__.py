"""What is doubtful about a data set: each finding with its images, a plain reason and a remedy in one click.

`quick` compares what was measured on the way in and takes a moment; `suspicions` holds what a network saw.
"""

from learner.datasets.checks.finding import Finding, Remedy
from learner.datasets.checks.quick import Facts, facts_of, find
from learner.datasets.checks.suspicions import Suspicions, confirm, suspected

__all__ = ["Facts", "Finding", "Remedy", "Suspicions", "confirm", "facts_of", "find", "suspected"]
