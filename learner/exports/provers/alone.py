"""Run a program as if some packages were not installed: `python -I alone.py REFUSED,REFUSED… PROGRAM ARGUMENTS…`."""

import runpy
import signal
import sys


class Without:
    """A finder that finds what another does, except some packages."""

    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # with whatever it opened
refused = set(sys.argv[1].split(","))
sys.meta_path[:] = [Without(finder, refused) for finder in sys.meta_path]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
