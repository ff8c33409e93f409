"""`make app`: run the Procfile (page and worker) until Ctrl-C, and say where the page is once it answers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
ANSWERS_WITHIN_S = 60


def main() -> int:
    """Start pages and worker where the port is free, and end with them; returns an exit code."""
    port = os.environ.setdefault("PORT", "8501")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(port)))
        except OSError:
            print(f"Port {port} is taken. Stop what listens there, or choose another: make app PORT=8502")
            return 1
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    honcho = subprocess.Popen([binaries / "honcho", "start"], cwd=ROOT, env=environment, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: honcho.terminate())  # honcho passes it on to both
    threading.Thread(target=_announce, args=(port, honcho), daemon=True).start()
    code = honcho.wait()
    return 0 if code in (0, -signal.SIGTERM, 128 + signal.SIGTERM, 130) else code


def _announce(port: str, honcho: subprocess.Popen) -> None:
    began = time.monotonic()
    while honcho.poll() is None and time.monotonic() - began < ANSWERS_WITHIN_S:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).close()
        except OSError:
            time.sleep(0.2)
            continue
        print(f"\n  Thaw is ready: http://localhost:{port}\n  Ctrl-C stops it; runs and data stay.\n", flush=True)
        return


if __name__ == "__main__":
    sys.exit(main())
