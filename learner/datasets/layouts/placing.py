"""Read a listing by a layout: which class, split and group each image has. Touches no disk."""

from learner.datasets.layouts.choice import Choice, Layout, Proposal
from learner.datasets.layouts.listing import Listing


def place(listing: Listing, choice: Choice) -> Layout:
    """Where every image goes. Takes well under a second for 25,000 paths.

    Raises DatasetError when the choice cannot be used: a regular expression that cannot be read, a table or column that
    is not there, no images at all.
    """
    raise NotImplementedError


def preview(listing: Listing, choice: Choice) -> Proposal:
    """What `choice` would bring in, counted, with a title and a reason; raises what `place` raises."""
    raise NotImplementedError
