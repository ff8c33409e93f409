"""One run: its phases over a fastai Learner, resume points, progress, and its process."""
