"""Optional parts of the `sensitivity` section: seeds, fidelity, negative prompts and inversion.

What is absent is not run. The stage `fidelity` reads all but the first from here.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gad.config.effect import FINE_TUNED
from gad.config.section import Count, Positive, Section, Seed

PIXELS = "pixels"  # logistic regression on the image and its texture, for the laptop
EFFLITE0 = "efflite0"  # the small frozen network that comes with the project; any other name is a hub name or a folder


class SeedsConfig(Section):
    """Seed identifiability (Table 2): the same noises under every prompt, prompts split in three."""

    num_seeds: Annotated[int, Field(ge=2)]
    train_prompts: Annotated[int, Field(ge=2)]  # images of a seed that the classifier learns from
    val_prompts: Count  # choose its regularisation, or its epoch
    test_prompts: Annotated[int, Field(ge=2)]
    classifier: str = PIXELS  # or a transformers image classifier, a hub name or folder, which is then fine-tuned
    epochs: Annotated[Count, FINE_TUNED] = 20  # of fine-tuning
    lr: Annotated[Positive, FINE_TUNED] = 1e-4  # of fine-tuning
    curve: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = [0.25, 0.5]  # training shares
    batch_size: Count = 64
    seed: Seed = 0

    @property
    def num_prompts(self) -> int:
        return self.train_prompts + self.val_prompts + self.test_prompts


class ScoreConfig(Section):
    """A CLIP-shaped evaluator of image and prompt: CLIP itself, PickScore, HPSv2, or any CLIPModel folder."""

    model: str  # hub name or local folder
    scale: Literal["cosine", "percent", "logit"] = "percent"  # times 1, 100 or the model's own exp(logit_scale)
    tokenizer: str | None = None  # hub name or folder of tokenizer and image mean, where the model's own has none
    revision: str | None = None


class FidelityConfig(Section):
    """Scores of images (Table 3) and distances of sets of images (Table 12)."""

    num_images: Annotated[int, Field(ge=16)]  # of each model, a prompt each
    scores: dict[str, ScoreConfig] = {}  # by the name they are shown under; none: the emoji dataset's own evaluator
    features: str = EFFLITE0  # or a transformers vision model, hub name or folder
    axes: Count = 32  # leading principal axes of the reference on which the Fréchet distance is taken
    neighbours: Count = 3  # k of precision, recall, density and coverage
    data: str | None = None  # folder of real images; none: rendered scenes of the same captions (emoji), or no data
    batch_size: Count = 64
    seed: Seed = 0

    @model_validator(mode="after")
    def _enough_images(self):
        if self.num_images < 2 * self.axes:
            raise ValueError(
                f"a Fréchet distance on {self.axes} axes needs at least {2 * self.axes} images, not {self.num_images};"
                " raise num_images or lower axes"
            )
        return self


class NegativePromptsConfig(Section):
    """Guidance away from a negative prompt."""

    num_samples: Count
    guidance_scale: Annotated[float, Field(gt=1)] = 3.0  # of teacher and student alike, against the negative prompt
    negative_prompt: str | None = None  # none: the second object of two-object captions (emoji)
    batch_size: Count = 32
    seed: Seed = 0


class InversionConfig(Section):
    """Inversion of a model's images to noise."""

    num_samples: Count = 8
    rounds: Count = 8  # of the fixed point at each step
    descent_steps: Count = 60  # for trajectories of a few steps, whose fixed points need not attract
    seed: Seed = 0
