"""The parts of the Runs page: the list and its queue, one run live, its curves and photos, the coach, comparing."""
