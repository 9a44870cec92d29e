"""The command `pruning-explorer`: serves the app. It can be called in any folder."""

import argparse
import errno
import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from streamlit.web import cli

from explorer.limits import add_limits, set_limits
from explorer.logs import FORMATS, TEXT
from explorer.logs import VARIABLE as LOG_FORMAT
from explorer.serving import LOCAL_NAMES, TOKEN
from pruning_core import __version__
from pruning_core.cli.options import add_subject
from pruning_core.evaluation.thread_pool import thread_count
from pruning_core.subjects.registry import name_subjects
from pruning_core.types import PruningError
from pruning_core.zoo.request import VARIABLE

HOST = "127.0.0.1"
EVERY_ADDRESS = ("0.0.0.0", "::")
LEAST_LENGTH = 8
HOSTS_FLAG = "--server.allowedHosts"
PORT = 8501
LAST_PORT = 65_535
HERE = Path(__file__).resolve().parent


def main(arguments: list[str] | None = None) -> int:
    """Serves the app until it is stopped.

    For a wrong argument it prints one sentence to standard error and returns the exit status 2.
    """
    options = parser().parse_args(arguments)
    try:
        port = checked_port(options.port)
        check_address(options.host, port)
        thread_count()  # raises for a wrong number before the first page does
        if options.data is not None:
            os.environ[VARIABLE] = str(data_folder(options.data))
        name_subjects(options.subject)
        token = options.token if options.token is not None else os.environ.get(TOKEN) or None
        if token is not None:
            os.environ[TOKEN] = checked_token(token)
        os.environ[LOG_FORMAT] = checked_log_format(options.log_format)
        upload_mb = set_limits(options).upload_mb
    except PruningError as error:
        print(error, file=sys.stderr)
        return 2
    if os.environ[LOG_FORMAT] == TEXT:
        announce(options.host, port)
    arguments = streamlit_arguments(options.host, port, options.allow_host)
    arguments += ["--server.maxUploadSize", str(upload_mb)]
    cli.main(arguments, prog_name="streamlit", standalone_mode=False)
    return 0


def announce(host: str, port: int) -> None:
    """Prints the address, and that no token is asked for, where that is so."""
    shown = f"[{host}]" if ":" in host else host
    print(f"Pruning Explorer: http://{shown}:{port} (Ctrl+C stops it)", flush=True)
    if host not in LOCAL_NAMES and not os.environ.get(TOKEN):
        print("Everyone who can reach this address can use the app. --token TEXT asks for a token.")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    command = argparse.ArgumentParser(
        prog="pruning-explorer", description="Serve the Pruning Explorer on this machine."
    )
    command.add_argument(
        "--host",
        default=HOST,
        help="address of the server; default %(default)s, which only this machine can reach",
    )
    command.add_argument(
        "--port",
        default=str(PORT),
        help=f"port of the server, from 1 to {LAST_PORT}; default %(default)s",
    )
    command.add_argument(
        "--data",
        help="folder of data sets, of your own checkpoints and of studies; created if it does not "
        f"exist; sets {VARIABLE}",
    )
    command.add_argument(
        "--token",
        metavar="TEXT",
        help="ask every browser for this text before it can use the app; the environment variable "
        f"{TOKEN} does the same",
    )
    command.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which browsers reach the server, such as that of a reverse proxy; repeat "
        "it for several; default: the address of --host, and any name where that is 0.0.0.0 or ::",
    )
    _add_log(command)
    add_subject(command)
    add_limits(command)
    command.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return command


def _add_log(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log-format",
        choices=FORMATS,
        help="the log on standard error: text, or a JSON object in each line that has nothing of "
        f"a visitor; the environment variable {LOG_FORMAT} does the same; default text",
    )


def app_file() -> Path:
    """The file for `streamlit run`, with .streamlit/config.toml in the same folder.

    An installed package has its own copy; otherwise it is the repository's.
    """
    installed = HERE / "served" / "app.py"
    return installed if installed.is_file() else HERE.parent / "app.py"


def checked_token(text: str) -> str:
    """The access token. Raises PruningError where it is too short."""
    if len(text) < LEAST_LENGTH:
        raise PruningError(f"The token is too short: choose at least {LEAST_LENGTH} characters.")
    return text


def checked_log_format(given: str | None) -> str:
    """The format of the log: that of the flag, or of the environment. Raises PruningError."""
    chosen = given or os.environ.get(LOG_FORMAT) or TEXT
    if chosen not in FORMATS:
        raise PruningError(f"{LOG_FORMAT} is '{chosen[:40]}': set it to {' or '.join(FORMATS)}.")
    return chosen


def allowed_hosts(host: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names in the Host header that the server accepts. names: those of --allow-host."""
    if host in LOCAL_NAMES:
        return (*LOCAL_NAMES, *names)
    if host in EVERY_ADDRESS and not names:
        return ("*",)
    return (*LOCAL_NAMES, *(() if host in EVERY_ADDRESS else (host,)), *names)


def streamlit_arguments(host: str, port: int, names: Sequence[str] = ()) -> list[str]:
    """The arguments of `streamlit`. names: hosts that are allowed besides `host`.

    Its welcome message is hidden, because it asks an external host for this machine's address.
    """
    address = ["--server.address", host, "--server.port", str(port)]
    hosts = [part for name in allowed_hosts(host, names) for part in (HOSTS_FLAG, name)]
    return ["run", str(app_file()), *address, *hosts, "--logger.hideWelcomeMessage", "true"]


def checked_port(text: str) -> int:
    """The port as a number. Raises PruningError if it is not from 1 to 65535."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= LAST_PORT:
        raise PruningError(
            f"'{text}' is not a port: choose a whole number from 1 to {LAST_PORT} with --port."
        )
    return int(text)


def check_address(host: str, port: int) -> None:
    """Raises PruningError, with the reason, if no server can listen on this host and port."""
    if not host:
        raise PruningError(f"The host is empty: choose an address with --host, such as {HOST}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        if os.name != "nt":  # as in Streamlit: a port that was just closed can be used
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, UnicodeError) as error:
            raise PruningError(_reason(host, port, error)) from error


def _reason(host: str, port: int, error: Exception) -> str:
    """Why no server can listen there, in one sentence."""
    number = getattr(error, "errno", None)
    if number == errno.EADDRINUSE:
        return f"Port {port} of {host} is already in use: choose another one with --port."
    if number == errno.EACCES:
        return f"You may not serve on port {port} of {host}: choose a port above 1023 with --port."
    reason = getattr(error, "strerror", None) or str(error)
    return (
        f"'{host}' is not an address of this machine ({reason}): "
        f"choose another one with --host, such as {HOST}."
    )


def data_folder(text: str) -> Path:
    """The data folder. Creates it if it does not exist; raises PruningError if it cannot."""
    folder = Path(text).expanduser().absolute()
    if folder.is_file():
        raise PruningError(f"{folder} is a file: choose a folder with --data.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PruningError(
            f"The data folder {folder} cannot be used ({error.strerror}): "
            "choose a folder with --data."
        ) from error
    return folder


if __name__ == "__main__":
    sys.exit(main())
