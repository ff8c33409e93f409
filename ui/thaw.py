"""The command `thaw`: `app` starts page and worker, as `make app` does; all else is what `python -m learner` does."""

import os
import shlex
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Annotated

import typer

PROCESSES = {"web": ["ui.server"], "worker": ["learner", "worker"]}
"""What the Procfile starts, as arguments of `python -m`; a test holds the two together."""
STOPPED = (0, 130, 143)
"""Exit codes of honcho's that are no failure; the latter two stand for Ctrl-C and SIGTERM."""


def main() -> None:
    """Run a command as `python -m learner` does, with `app` beside the others."""
    try:
        from learner import cli

        _start_nothing_else_of_our_name()
        cli.app.command("app")(app)
        cli.main("thaw")
    except KeyboardInterrupt:  # before the commands could handle it
        sys.exit(130)


def app(
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535, help="Where the page listens.")] = 8501,
) -> int:
    """Open Thaw: the page and one worker, until Ctrl-C."""
    from honcho.manager import Manager

    _require_free(port)
    manager = Manager()
    environment = {**os.environ, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    for name, arguments in PROCESSES.items():
        manager.add_process(name, f"exec {shlex.join([sys.executable, '-m', *arguments])}", env=environment)
    threading.Thread(target=_announce, args=(port,), daemon=True).start()
    manager.loop()
    return 0 if manager.returncode in STOPPED else manager.returncode


def _start_nothing_else_of_our_name() -> None:
    """What is started from here on is this Thaw, though the folder one stands in may hold a `ui` or `learner` too."""
    here = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONSAFEPATH"] = "1"


def _require_free(port: int) -> None:
    """Raises ThawError where something listens on the port."""
    from learner.errors import ThawError

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ThawError(
                f"Port {port} is taken. Stop what listens there, or choose another: PORT=8502 make app, or "
                "thaw app --port 8502."
            ) from None


def _announce(port: int) -> None:
    """Say where the page is, once it answers. Ends with its process where it never does."""
    while True:
        time.sleep(0.2)  # first: this process forks as it begins, which must not copy a lock that is held here
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
        except OSError:
            continue
        print(f"\n  Thaw is ready: http://localhost:{port}\n  Ctrl-C stops it; runs and data stay.\n", flush=True)
        return


if __name__ == "__main__":
    main()
