"""`python -m learner.questions`: answers one question of a page."""

from learner.questions.process import main

main()
