"""What the command-line programs share: one-line errors, and how DVC is called."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def positive_argument(text: str) -> int:
    """A whole number of at least 1, as argparse reads it."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, not {text}")
    return int(text)


def exit_with_status(main: Callable[[], int | None]) -> NoReturn:
    """Run a command to its exit status; what is wrong with a recipe, an argument or a file is one line."""
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def _handle_stops(handler: Callable[[int, object], NoReturn]) -> None:
    """Handle Ctrl-C, and SIGTERM as a scheduler sends it. One that is ignored, as in a background job, stays so."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _tell_stopped(number: int) -> int:
    name = signal.Signals(number).name
    print(f"stopped by {name}; start again: it goes on from what is done", file=sys.stderr, flush=True)
    return 128 + number


def leave_on_signal() -> None:
    """Have a stopping signal end this process at once, in one line: for a time when nothing has begun."""
    _handle_stops(lambda number, frame: os._exit(_tell_stopped(number)))


def raise_on_signal() -> None:
    """Have a stopping signal raise KeyboardInterrupt, so that what was begun is ended in order; further ones do
    nothing."""

    def stop(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    _handle_stops(stop)


def stopped_status(stopped: KeyboardInterrupt) -> int:
    """The exit status for what :func:`raise_on_signal` has raised; says so in one line."""
    return _tell_stopped(next(iter(stopped.args), signal.SIGINT))


def dvc_cli_command(*arguments: str) -> list[str]:
    """The command line of DVC with these arguments."""
    return [sys.executable, "-m", "dvc", *arguments]
