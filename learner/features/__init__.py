"""Images as batches, augmentation, and the cache of what frozen stages make of them."""
