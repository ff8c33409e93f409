"""Where the web process listens and under which names it answers, as its settings say; nothing is changed."""

import os
import socket
import urllib.request
from typing import Literal

State = Literal["ok", "attention", "failed"]
Told = tuple[State, str, str]
"""How it is, a sentence, and what to do."""
USUAL_PORT = "8501"
_EVERYWHERE = ("0.0.0.0", "::")
_ANSWERS_S = 5


def port_and_address() -> Told:
    """Whether `PORT` can be listened on, or Thaw answers there already."""
    setting = os.environ.get("PORT") or USUAL_PORT
    if not (setting.isdecimal() and 0 < int(setting) < 65536):
        return "failed", f"PORT is {setting!r}, which is no port.", "Set it to a number from 1 to 65535."
    port, address = int(setting), os.environ.get("STREAMLIT_SERVER_ADDRESS", "127.0.0.1")
    own = "127.0.0.1" if address in _EVERYWHERE else address
    state = "Thaw answers on" if _answers(own, port) else _free(own, port)
    if state is None:
        told = f"Another program listens on port {port} of {own}."
        return "attention", told, "Stop it, or set PORT to another port."
    if address in _EVERYWHERE:
        told = f"{state} port {port}, which is open to the network, and there is no login."
        return (
            "attention",
            told,
            "Open it only where you trust everybody, or put a proxy that asks who it is before it.",
        )
    return "ok", f"{state} port {port} of {own}.", ""


def host_names() -> Told:
    """Whether what `THAW_HOSTS` holds are names."""
    names = [name.strip() for name in os.environ.get("THAW_HOSTS", "").split(",") if name.strip()]
    wrong = [name for name in names if set(name) & set("/:*@ ")]
    if wrong:
        told = f"THAW_HOSTS has {wrong[0]!r}, which no browser ever sends as a name."
        return "attention", told, "Give names only, without http://, port, path or *, and commas between them."
    if names:
        return "ok", f"Besides its own names Thaw answers as {', '.join(names)}.", ""
    return "ok", "Thaw answers under this machine's own names only; THAW_HOSTS adds others.", ""


def _answers(address: str, port: int) -> bool:
    host = f"[{address}]" if ":" in address else address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=_ANSWERS_S) as answer:
            return bool(answer.read(10) == b"ok\n")
    except (OSError, ValueError):
        return False


def _free(address: str, port: int) -> str | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return None
    return "Nothing listens on"
