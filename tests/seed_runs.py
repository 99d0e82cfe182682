"""Trainings of a variant's seeds, ended or broken off, and the files that they leave."""


def contents(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finish(started) -> dict[str, bytes]:
    run, folder = started
    list(run)
    return contents(folder)


def interrupt(started, steps: int) -> None:
    run, _ = started
    for _ in range(steps):
        next(run)
    run.close()
