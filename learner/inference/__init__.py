"""Predictions: one picture, batches of them, and the ImageNet model itself."""
