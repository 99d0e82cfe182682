"""What is written of a student's validation while it trains: a row and an image grid for each validated step."""

import csv
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gad.diffusion.denoiser import NetworkDenoiser
from gad.distillation.tracker import Tracker
from gad.distillation.training_log import append_row, join_log_tables
from gad.metrics.convergence import curve_metrics
from gad.metrics.validation import Validation
from gad.models.model import Model
from gad.runtime.atomic import atomic_write_path

CURVES = "validation.csv"  # of all seeds, beside the log of their training
IMAGES = "validation"
GAP = 2  # white pixels between images
SIDE = 128  # pixels that smaller images are enlarged to, by a whole factor


@dataclass
class ValidationLog:
    """The validation of one student: a table ``CURVES`` and a folder of image grids below ``folder``.

    A run that goes on after a kill measures again what came after its checkpoint; rows and grids are then the same.
    """

    validation: Validation
    teacher: Model
    seed: int
    folder: Path
    shown: set[int] = field(default_factory=set)  # steps that a tracker has

    def __call__(self, step: int, student: NetworkDenoiser) -> None:
        """Measure ``student`` after ``step`` steps and write its row and images."""
        measured = self.validation.measure(student, self.teacher)
        if measured.shown is not None and len(measured.shown):
            write_validation_image_rows(self._grid(step), [self.validation.teacher_shown, measured.shown])
        append_row(self.folder / CURVES, {"seed": self.seed, "step": step} | measured.row)

    def show(self, tracker: Tracker) -> None:
        """Give a tracker the rows and images that it does not have yet."""
        if not (self.folder / CURVES).exists():
            return
        with open(self.folder / CURVES, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            step = int(row["step"])
            if step in self.shown:
                continue
            self.shown.add(step)
            tracker.log_numbers({f"validation/{name}": float(row[name]) for name in curve_metrics(row)}, step)
            if self._grid(step).exists():
                tracker.log_image("validation", self._grid(step), step)

    def keep(self, folder: Path) -> None:
        """Copy table and images of the finished student to its variant's folder."""
        remove_validation_log(folder, self.seed)
        shutil.copy(self.folder / CURVES, validation_log_of_seed(folder, self.seed))
        if (self.folder / IMAGES).exists():
            shutil.copytree(self.folder / IMAGES, validation_images_of_seed(folder, self.seed))

    def _grid(self, step: int) -> Path:
        return self.folder / IMAGES / f"{step:06d}.png"


def validation_log_of_seed(folder: Path, seed: int) -> Path:
    """The table of a seed in its variant's folder."""
    return folder / f"validation_{seed}.csv"


def validation_images_of_seed(folder: Path, seed: int) -> Path:
    """The folder of a seed's image grids, ``<step>.png`` each, in its variant's folder."""
    return folder / f"validation_{seed}"


def join_validation_logs(folder: Path, seeds: list[int]) -> None:
    """Write the table ``CURVES`` of all seeds of a variant."""
    join_log_tables([validation_log_of_seed(folder, seed) for seed in seeds], folder / CURVES)


def remove_validation_log(folder: Path, seed: int) -> None:
    """Remove what stands in a variant's folder of a seed."""
    validation_log_of_seed(folder, seed).unlink(missing_ok=True)
    shutil.rmtree(validation_images_of_seed(folder, seed), ignore_errors=True)


def read_validation_image_rows(folder: Path, seed: int) -> dict[str, np.ndarray]:
    """The image grids of a seed as rows of pixels by name: ``teacher``, then ``<n> steps`` for each validated step.

    Empty where none were written.
    """
    from PIL import Image  # here, since only images need it

    found: dict[str, np.ndarray] = {}
    for path in sorted(validation_images_of_seed(folder, seed).glob("*.png")):
        pixels = np.asarray(Image.open(path))
        height = (len(pixels) - GAP) // 2
        found.setdefault("teacher", pixels[:height])
        found[f"{int(path.stem)} steps"] = pixels[-height:]
    return found


def write_validation_image_rows(path: Path, rows: list[Tensor]) -> None:
    """Write a PNG with a row of images ``[B, 3, H, W]`` in [-1, 1] each, white lines between them."""
    from PIL import Image  # here, since only images need it

    factor = max(1, SIDE // rows[0].shape[-1])
    lines = []
    for images in rows:
        large = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        lines.append(torch.cat(list(torch.nn.functional.pad(large, (0, GAP, 0, GAP), value=1.0)), dim=2))
    pixels = ((torch.cat(lines, dim=1)[:, :-GAP, :-GAP].clamp(-1, 1) + 1) * 127.5).round().byte()
    with atomic_write_path(path) as partial:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(partial, format="PNG")
