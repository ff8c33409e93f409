"""What processes write about their work: lines for people, or with `THAW_LOG=json` one JSON object a line.

The standard library's logging does all but the format, which is a few lines; a package for that would add only these.
"""

import json
import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

SETTING = "THAW_LOG"
FOR_PEOPLE = "%(asctime)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One object a record: `time` (UTC), `level`, `logger`, `message`, `process`, and `run`, `exception` where known.

    `run` is that of the record (`extra={"run": 3}`), or of the whole process.
    """

    def __init__(self, run: int | None = None):
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """The object, on one line whatever the message holds."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "process": record.process,
        }
        run = getattr(record, "run", self._run)
        if run is not None:
            told["run"] = run
        if record.exc_info and record.exc_info[0]:
            told["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def wants_json() -> bool:
    """Whether `THAW_LOG` asks for JSON; any other value is as none."""
    return os.environ.get(SETTING, "").strip().lower() == "json"


def set_up_logs(for_people: str = FOR_PEOPLE, run: int | None = None) -> None:
    """Let this process write what it logs to stderr, from INFO on: as JSON if asked for, else as `for_people` says."""
    logging.basicConfig(level=logging.INFO, format=for_people, datefmt="%Y-%m-%d %H:%M:%S")
    if wants_json():
        use_json(run)


def use_json(run: int | None = None) -> None:
    """Let all that is logged in this process be JSON: handlers that others made too, warnings, and what ends it."""
    lines = JsonLines(run)
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    for logger in [logging.getLogger(), *known]:
        for handler in logger.handlers:
            handler.setFormatter(lines)
    for logger in known:
        logger.propagate = logger.propagate or not logger.handlers  # uvicorn's errors would be told without any format
    if not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(lines)
        logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)
    sys.excepthook = _log_ending
    threading.excepthook = _log_end_of_thread


def _log_ending(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logging.getLogger(__name__).critical("The process ended by an error", exc_info=(kind, error, place))


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        how = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logging.getLogger(__name__).error("A thread ended by an error", exc_info=how)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # a message and its values do not fit: a defect, but no reason to lose the line
        return f"{record.msg} {record.args}"
