"""Layouts: how a pile of files says which class each image has. Recognised by themselves, shown, corrected, applied."""

from learner.datasets.layouts.choice import KINDS, Choice, Layout, Placed, Proposal
from learner.datasets.layouts.listing import Listing, listing_of
from learner.datasets.layouts.patterns import groups_by_pattern
from learner.datasets.layouts.placing import place, preview
from learner.datasets.layouts.recognition import recognise
from learner.datasets.layouts.tables import Table

__all__ = [
    "KINDS",
    "Choice",
    "Layout",
    "Listing",
    "Placed",
    "Proposal",
    "Table",
    "groups_by_pattern",
    "listing_of",
    "place",
    "preview",
    "recognise",
]
