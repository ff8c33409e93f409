"""`python -m learner`: the commands."""

import sys

try:
    from learner.cli import main

    main()
except KeyboardInterrupt:  # before the commands could handle it
    sys.exit(130)
