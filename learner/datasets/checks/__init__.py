"""What is doubtful about a data set: each finding with its images, a plain reason and a remedy in one click.

`quick` compares what was measured on the way in and takes a moment; `label_issues` holds what a network saw.
"""

from learner.datasets.checks.finding import Finding, Remedy
from learner.datasets.checks.label_issues import LabelIssues, confirm, issue_findings
from learner.datasets.checks.quick import Facts, facts_of, find

__all__ = ["Facts", "Finding", "LabelIssues", "Remedy", "confirm", "facts_of", "find", "issue_findings"]
