"""The table that training writes, a row whenever it tells how far it is."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gad.distillation.tracker import Tracker, TrackerName, open_tracker
from gad.distillation.training_loop import TrainState
from gad.runtime.atomic import atomic_write_path


def log_training_states(
    states: Iterable[TrainState],
    seed: int,
    path: Path,
    live: Path,
    *,
    tracker: TrackerName = "dvclive",
    show: Callable[[Tracker], None] | None = None,
) -> Iterator[TrainState]:
    """The states as they come, each once it stands in the table ``path``.

    A ``tracker``'s files in ``live`` are for monitoring; the table is the record. ``show`` gives it more to monitor.
    """
    with open_tracker(tracker, live) as log:
        shown = 0
        for state in states:
            rows = append_log_row(path, seed, state)
            if show is not None and log is not None:
                show(log)
            for row in rows[shown:]:  # of a run that goes on after a kill the earlier ones, too
                if log is not None:
                    _show_row(log, row)
            shown = len(rows)
            yield state


def _show_row(log: Tracker, row: dict[str, str]) -> None:
    """A row as it is monitored while training goes on."""
    numbers = {f"train/{name}": float(value) for name, value in row.items() if name not in ("seed", "step") and value}
    log.log_numbers(numbers, int(row["step"]))


def append_log_row(path: Path, seed: int, state: TrainState) -> list[dict[str, str]]:
    """Add the row of a state to the table ``path`` and return all."""
    found: dict[str, int | float] = {"seed": seed, "step": state.step}
    found |= {"learning_rate": state.learning_rate, "gradient_norm": state.gradient_norm}
    return append_row(path, found | state.terms | state.monitored)


def append_row(path: Path, values: dict[str, int | float]) -> list[dict[str, str]]:
    """Add a row and return all; rows at or after its step, left by a killed run, are dropped."""
    row = {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    rows: list[dict[str, str]] = []
    if path.exists():
        with open(path, newline="", encoding="utf-8") as file:
            rows = [old for old in csv.DictReader(file) if int(old["step"]) < values["step"]]
    rows.append(row)
    _write_rows(path, rows)
    return rows


def _write_rows(path: Path, rows: list[dict]) -> None:
    """A table with every column that a row has; sparse GAD is not logged at every step."""
    names = dict.fromkeys(name for row in rows for name in row)
    with atomic_write_path(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def join_log_tables(paths: list[Path], whole: Path) -> None:
    """One table of all, in their order."""
    rows = []
    for path in paths:
        with open(path, newline="", encoding="utf-8") as file:
            rows += list(csv.DictReader(file))
    _write_rows(whole, rows)
