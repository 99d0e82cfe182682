"""What the command-line programs share: one-line errors, and how DVC is called."""

import argparse
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


def dvc_command_line(*arguments: str) -> list[str]:
    """The command line of DVC with these arguments."""
    return [sys.executable, "-m", "dvc", *arguments]
