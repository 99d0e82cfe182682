"""The model card of a published student: what a hub reads at its head, and what a person reads below."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill

from gad.config import Recipe
from gad.data.emoji import seeds
from gad.data.emoji.scenes import make_scene_prompt
from gad.models.model import Model
from gad.models.students import student_sample_options
from gad.report.model_card_tables import LOSSES, card_method, card_numbers, teacher_place
from gad.runtime.paths import ROOT, SPRITES
from gad.runtime.text import read_text_file

PAPER = "https://arxiv.org/abs/2606.01651"


def model_card(
    settings: Recipe, variant: str, seed: int, student: Model, metrics: Mapping[str, dict], facts: Mapping, place: str
) -> str:
    """The text of a card: a head in YAML as model hubs read it, then Markdown.

    ``metrics`` are those of the recipe's stages, ``facts`` their provenance (empty where it is not known), ``place`` is
    the folder as seen from the project's root.
    """
    sections = {
        "How it was made": card_method(settings, variant, seed, facts),
        "What was measured": card_numbers(settings, variant, seed, dict(metrics)),
        "Sample it": _sampling(settings, student, place),
        "Limits": _limits(settings),
        "Licence": _licence(settings),
        "Cite": _citation(),
    }
    head = f"---\n{_head(settings)}\n---\n\n# {settings.name}: {variant}\n\n{_what(settings, variant, student)}\n"
    return head + "".join(f"\n## {title}\n\n{text}\n" for title, text in sections.items())


def _is_emoji(settings: Recipe) -> bool:
    return settings.teacher.dataset == "emoji"


def _head(settings: Recipe) -> str:
    from huggingface_hub import ModelCardData  # here, since it takes time

    licence = {"license": "mit"} if _is_emoji(settings) else {"license": "other", "license_name": "as-the-teacher"}
    tags = ["geometry-aware-distillation", "distillation", LOSSES[settings.student.paradigm].replace(" ", "-").lower()]
    return ModelCardData(
        **licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=tags,
        base_model=teacher_place(settings),
    ).to_yaml()


def _what(settings: Recipe, variant: str, student: Model) -> str:
    steps = settings.noise_pairs.student_steps
    made = "emoji scenes" if _is_emoji(settings) else "images"
    return (
        f"A text-to-image student of {steps} sampling step{'s' * (steps > 1)} that makes {made} of "
        f"{student.image_side} x {student.image_side} pixels.\n"
        f"It is one of the students with which the project `gad` measures whether\n"
        f"[geometry-aware distillation]({PAPER}) restores the response to the noise.\nThis is variant `{variant}`."
    )


def _sampling(settings: Recipe, student: Model, place: str) -> str:
    prompt = make_scene_prompt(0, seed=seeds.EXPLORER).caption if _is_emoji(settings) else "a red car on a beach"
    options = student_sample_options(student, settings.noise_pairs.student_steps)
    lines = [
        "import torch",
        "from diffusers import DiffusionPipeline",
        f'pipe = DiffusionPipeline.from_pretrained("{place}")',
        fill(f"options = {options!r}", width=110, subsequent_indent=" " * 11),
        f'pipe("{prompt}", generator=torch.manual_seed(0), **options).images[0].save("image.png")',
    ]
    return (
        "With stock diffusers, in the root of a clone (elsewhere name the folder, or the model on its hub):\n\n"
        + "\n".join(["```python", *lines, "```"])
        + "\n\nThe weights are stored in half precision and loaded in float32.\n"
        "The options matter: other steps, times or guidance make another model of it."
    )


def _limits(settings: Recipe) -> str:
    if not _is_emoji(settings):
        return "For research. What limits the teacher limits the student."
    return (
        "- For research on distillation; it makes nothing else than emoji scenes of 64 x 64 pixels.\n"
        "- It knows the words of the captions that it was trained with, and no others.\n"
        "- It supports no claim about photographs or full-size models."
    )


def _licence(settings: Recipe) -> str:
    if not _is_emoji(settings):
        return f"The weights follow the licence of the teacher, `{teacher_place(settings)}`; the code is MIT."
    lines = read_text_file(SPRITES / "README.md").splitlines()
    table = [line for line in lines if line.startswith("|")]
    below = [line for line in lines if line.startswith(("Changes", "CC BY"))]
    composed = "The training scenes are composed of this artwork:"
    return "\n".join(["Weights and code: MIT.", composed, "", *table, "", *below])


def _citation() -> str:
    return (
        "Cite the project `gad` by its `CITATION.cff`, and the paper whose method it implements:\n"
        f"Huang et al., *Geometry-Aware Distillation*, ICML 2026, [arXiv:2606.01651]({PAPER})."
    )


def card_place(folder: Path) -> str:
    """How a card names its folder: from the project's root where it lies below."""
    whole = folder.resolve()
    return str(whole.relative_to(ROOT)) if whole.is_relative_to(ROOT) else folder.name
