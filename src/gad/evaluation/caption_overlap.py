"""Which captions of an evaluation the students have been trained with."""

from collections.abc import Sequence

from gad.config import Recipe
from gad.config.sample_ids import ANALYSIS, FIDELITY, NEGATIVE_PROMPTS, SEEDS, task_sample_ids
from gad.data.prompts import different_prompts, prompt_of
from gad.evaluation.control.composition.composition import composition_prompts
from gad.evaluation.control.layout.prompts import layout_prompts
from gad.evaluation.control.prompts import control_prompts
from gad.evaluation.fidelity.negative_prompts import negative_pairs
from gad.models.stage import Stage


def overlap_with_training(training: Sequence[str], evaluated: Sequence[str]) -> dict[str, int]:
    """How many different ``captions`` are evaluated, and how many of them are ``in_training``; neither case nor spaces
    make a caption another one."""
    seen, asked = ({" ".join(caption.casefold().split()) for caption in part} for part in (training, evaluated))
    return {"captions": len(asked), "in_training": len(asked & seen)}


def evaluated_captions(stage: str, settings: Recipe) -> dict[str, list[str]]:
    """The captions of each part of a stage on images that evaluates models.

    Raises ValueError, in one line, for files that cannot be read or hold too few.
    """
    source, measures, control = settings.noise_pairs.prompt_source, settings.sensitivity, settings.control
    of = settings.noise_pairs.captions
    found: dict[str, list[str]] = {}
    if stage == "sensitivity":
        found["noises"] = prompt_of(task_sample_ids(ANALYSIS, measures.num_noises), source)
        if measures.seeds:
            found["seeds"] = different_prompts(SEEDS, measures.seeds.num_prompts, source)
    if stage == "fidelity":
        if measures.fidelity:
            found["images"] = prompt_of(task_sample_ids(FIDELITY, measures.fidelity.num_images), source)
        if measures.negative_prompts:
            found["negative_prompts"] = [prompt for _, prompt, _ in negative_pairs(measures.negative_prompts, source)]
        if measures.inversion:
            ids = task_sample_ids(NEGATIVE_PROMPTS, measures.inversion.num_samples)
            found["inversion"] = prompt_of(ids, source)
    if stage == "control":
        asked = control.diversity
        found["diversity"] = control_prompts(asked.num_prompts, asked.prompts, captions=of).captions
        if control.noise_query:
            query = control.noise_query
            found["noise_query"] = control_prompts(query.num_queries, query.prompts, captions=of).captions
        if control.noise_optimisation:
            optimised = control.noise_optimisation
            prompts = control_prompts(optimised.num_prompts, optimised.prompts, captions=of)
            found["noise_optimisation"] = prompts.captions
        if control.layout:
            found["layout"] = [prompt.caption for prompt in layout_prompts(control.layout, captions=of)]
        if control.composition:
            found["composition"] = [prompt.caption for prompt in composition_prompts(control.composition)]
    return found


def report_caption_overlap(stage: Stage) -> dict[str, dict[str, dict[str, int]]]:
    """For the metrics of a stage on images: ``caption_overlap`` by part, as :func:`overlap_with_training` gives it.

    It is printed in one line as well. The Swiss roll has no captions, and nothing is returned for it.
    """
    settings = stage.settings
    if settings.teacher.dataset == "swiss_roll":
        return {}
    training = prompt_of(range(settings.noise_pairs.num_pairs), settings.noise_pairs.prompt_source)
    parts = {
        name: overlap_with_training(training, captions)
        for name, captions in evaluated_captions(stage.name, settings).items()
    }
    told = ", ".join(f"{name} {part['in_training']} of {part['captions']}" for name, part in parts.items())
    print(f"evaluated captions that the students were trained with: {told or 'none are evaluated'}")
    return {"caption_overlap": parts}
