"""What a variant's students were trained with, beside them, and whether that is what the recipe says."""

from pathlib import Path

from gad.config import NoisePairsConfig, Recipe, StudentConfig
from gad.config import noise_pairs as of_pairs
from gad.config.noise_pairs import NO_MATTER
from gad.config.recipe import RENAMED
from gad.config.variants import VARIANTS
from gad.runtime.files import read_json, write_json

TRAINED = "trained.json"
LOG = "training.csv"  # what was logged, of all seeds
# of a student that is trained
NO_RESULT = {"seeds", "side_variants", "side_seeds", "device", "shard", "accumulate", "workers"}
NO_RESULT |= {"validation", "tracker"}
# settings of newer code: recorded only where they are not what older students had
NEWER = {"start", "start_steps", "start_lr", "target", "end_to_end_gradient", "gradient_ratio", "gradient_ratio_every"}
NEWER |= {"auxiliary_warmup", "rollout", "start_student", "lora"}


def _facts(student: StudentConfig, pairs: NoisePairsConfig) -> dict[str, object]:
    values = student.model_dump(exclude=NO_RESULT)
    kept = {name: value for name, value in values.items() if name not in NEWER or value != _usual(name)}
    facts = {f"student.{name}": value for name, value in kept.items()}
    matter = pairs.recorded(exclude=NO_MATTER | {"shard_size"})
    return facts | {f"noise_pairs.{name}": value for name, value in matter.items()}


def _usual(name: str) -> object:
    """The value of a student setting where a recipe does not name it."""
    return StudentConfig.model_fields[name].default


def write_training_record(folder: Path, student: StudentConfig, pairs: NoisePairsConfig) -> None:
    """Write what decides the students of a variant's ``folder``: its settings, and those of its pairs."""
    write_json(folder / TRAINED, _facts(student, pairs), digits=17)


def check_training_record(settings: Recipe, folder: Path) -> None:
    """Raise ValueError, in one line, for a variant in ``folder`` whose students were trained with other settings than
    the recipe's, or that lacks some of its seeds. Variants that are not there at all are not missed."""
    for variant in (name for name in VARIANTS if (folder / name).exists()):
        again = f"train it again: stage student, variant {variant}"
        seeds = settings.student.seeds_of(variant)
        lacking = [seed for seed in seeds if not (folder / variant / f"seed_{seed}").exists()]
        if lacking:
            raise ValueError(f"{variant} lacks the student of seed {lacking[0]}, which the recipe names; {again}")
        path = folder / variant / TRAINED
        had = read_json(path) if path.exists() else {}  # students of older code tell nothing
        had = {RENAMED.get(name, name): value for name, value in had.items()}
        wanted = _facts(settings.student, settings.noise_pairs)
        usual = {f"student.{name}": _usual(name) for name in NEWER}
        usual |= {f"noise_pairs.{name}": NoisePairsConfig.model_fields[name].default for name in of_pairs.NEWER}
        had, wanted = ({**usual, **facts} if facts else facts for facts in (had, wanted))
        other = [name for name in wanted if name in had and had[name] != wanted[name]]
        if other:
            was = f"{other[0]} {had[other[0]]} where the recipe says {wanted[other[0]]}"
            raise ValueError(f"students of {variant} were trained with {was}; {again}")
