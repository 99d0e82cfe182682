"""Which sample ids belong to whom: each analysis and control task has a million of its own.

Noises and prompts come from ids, so two tasks that shared some would not be independent. Noise pairs count from 0.
"""

WIDTH = 1_000_000
ANALYSIS = 1 * WIDTH
DIVERSITY = 2 * WIDTH
LIBRARY = 3 * WIDTH
FRESH = 4 * WIDTH  # noises outside the library
LAYOUT = 5 * WIDTH
OPTIMISATION = 6 * WIDTH
SEEDS = 7 * WIDTH
FIDELITY = 8 * WIDTH
NEGATIVE_PROMPTS = 9 * WIDTH  # and inversion, which takes the same ones
EXPLORE = 10 * WIDTH
VALIDATION = 11 * WIDTH  # of students while they train
COMPOSITION = 12 * WIDTH


def task_sample_ids(start: int, count: int) -> range:
    """The first ``count`` sample ids of a task, by its ``start``. Raises ValueError for more than it owns."""
    if count > WIDTH:
        raise ValueError(f"{count} samples are asked for; a task has {WIDTH} sample ids of its own")
    return range(start, start + count)
