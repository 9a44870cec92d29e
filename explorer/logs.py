"""The server's log on standard error: one line for each event, as text or as JSON.

An event has a name and fields that the code chooses: kinds, states, numbers. As JSON the log has
nothing of a visitor: of other libraries' messages the text without the values in it, and of an
error its type and the lines of code, without its message. Values and messages may hold names of
files, parts of a plan, or addresses.
"""

import json
import logging
import os
import time
import traceback
from collections.abc import Iterator

VARIABLE = "PRUNING_EXPLORER_LOG_FORMAT"
"""Environment variable: one of `FORMATS`."""
TEXT = "text"
JSON = "json"
FORMATS = (TEXT, JSON)
LOG = logging.getLogger("explorer")


def log_event(event: str, **fields: object) -> None:
    """Logs an event. fields: nothing that a visitor wrote, no names of files, no addresses."""
    LOG.info(event, extra={"fields": fields})


def is_json() -> bool:
    """Is the log JSON, as the environment says?"""
    return os.environ.get(VARIABLE) == JSON


def set_up_logs() -> None:
    """Formats the log as the environment says; as JSON also that of Streamlit and its server."""
    handler = logging.StreamHandler()
    LOG.setLevel(logging.INFO)
    if not is_json():
        handler.setFormatter(TextLines())
        LOG.handlers[:] = [handler]
        return
    handler.setFormatter(JsonLines())
    logging.root.handlers[:] = [handler]
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] != LOG.name:
            logger.handlers.clear()
            logger.propagate = True
            logger.setLevel(logging.WARNING)


class TextLines(logging.Formatter):
    """Time, event and fields; of an error its traceback below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without the traceback."""
        fields = getattr(record, "fields", {}).items()
        return " ".join([super().formatMessage(record), *(f"{key}={v}" for key, v in fields)])


class JsonLines(logging.Formatter):
    """A JSON object without line breaks."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        values = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": str(record.msg),
            **getattr(record, "fields", {}),
        }
        if record.name != LOG.name:
            values["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            values["error"] = type(record.exc_info[1]).__name__
            values["traceback"] = list(_lines_of_code(record.exc_info[1]))
        return json.dumps(values)


def _lines_of_code(error: BaseException) -> Iterator[str]:
    """Where the error was raised, after where the errors were that it followed from."""
    if (earlier := error.__cause__ or error.__context__) is not None:
        yield from _lines_of_code(earlier)
        yield f"{type(earlier).__name__}, then {type(error).__name__}"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"
