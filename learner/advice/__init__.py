"""What to try next: the coach, strategies, learning curves, doubtful labels and their corrections, what to label."""
