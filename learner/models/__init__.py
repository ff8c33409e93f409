"""Backbones as named stages, their weights, heads, precision, calibration, and the checkpoint that holds them."""
