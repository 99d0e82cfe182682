"""Captions that are evaluated and trained with, told by the stage itself."""

import pandas as pd
import pytest

from gad.config import PromptsConfig, load_recipe
from gad.config.sample_ids import WIDTH
from gad.evaluation.caption_overlap import evaluated_captions, overlap_with_training, report_caption_overlap
from gad.evaluation.fidelity.record_fidelity import record_fidelity
from gad.models.stage import Stage
from gad.runtime import paths


def test_neither_case_nor_spaces_make_another_caption():
    found = overlap_with_training(["A cat", "a  dog ", "a bird"], ["a cat", "a CAT", "a dog", "a fish"])
    assert found == {"captions": 3, "in_training": 2}


@pytest.mark.parametrize(
    ("stage", "parts"),
    [
        ("sensitivity", {"noises", "seeds"}),
        ("fidelity", {"images", "negative_prompts", "inversion"}),
        ("control", {"diversity", "noise_query", "noise_optimisation", "layout"}),
    ],
)
def test_every_part_of_a_stage_says_which_captions_it_evaluates(stage, parts):
    settings = load_recipe("emoji_quick")
    captions = evaluated_captions(stage, settings)
    assert set(captions) == parts and all(captions.values())


def stage_of(settings, teacher) -> Stage:
    return Stage("fidelity", settings.name, settings, teacher, [], [])


def test_overlap_is_in_the_metrics_and_printed_in_one_line(capsys, tmp_path, point_teacher):
    """Of 20 prompts 16 are trained with; 8 analysed ones from the end share 4 with those."""
    (tmp_path / "prompts.txt").write_text("".join(f"prompt {number}\n" for number in range(20)))
    settings = load_recipe("emoji_quick")
    pairs = settings.noise_pairs.model_copy(
        update={"num_pairs": 16, "prompts": PromptsConfig(file=str(tmp_path / "prompts.txt"))}
    )
    inversion = settings.sensitivity.inversion.model_copy(update={"num_samples": 8})
    measures = settings.sensitivity.model_copy(
        update={"fidelity": None, "negative_prompts": None, "inversion": inversion}
    )
    settings = settings.model_copy(update={"noise_pairs": pairs, "sensitivity": measures})
    found = report_caption_overlap(stage_of(settings, point_teacher))
    assert found == {"caption_overlap": {"inversion": {"captions": 8, "in_training": 4}}}
    told = capsys.readouterr().out
    assert told == "evaluated captions that the students were trained with: inversion 4 of 8\n"


def test_the_swiss_roll_has_no_captions_and_its_metrics_stay_as_they_were(capsys, smoke, point_teacher):
    assert report_caption_overlap(stage_of(smoke, point_teacher)) == {} and capsys.readouterr().out == ""


def test_the_record_of_a_stage_holds_the_overlap(monkeypatch, tmp_path, capsys, point_teacher):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    empty = pd.DataFrame()
    stage = stage_of(load_recipe("emoji_quick"), point_teacher)
    metrics = record_fidelity(stage, scored=empty, distances=empty, inversion=empty, negative=empty)
    assert set(metrics["caption_overlap"]) == {"images", "negative_prompts", "inversion"}
    assert "evaluated captions that the students were trained with" in capsys.readouterr().out


def test_training_cannot_reach_the_ids_of_an_analysis(smoke):
    pairs = smoke.noise_pairs.model_dump()
    asked = pairs | {"num_pairs": WIDTH // 3, "directions_per_noise": 2}
    assert type(smoke.noise_pairs)(**asked).num_pairs * 3 <= WIDTH
    with pytest.raises(ValueError, match="would take 1000002 sample ids, the analysis begins at 1000000"):
        type(smoke.noise_pairs)(**(asked | {"num_pairs": WIDTH // 3 + 1}))
