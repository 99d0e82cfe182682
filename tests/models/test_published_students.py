"""A published student stands alone: an adapter is merged into its teacher's network."""

import hub_folders
import pytest
import torch
from moved_adapter import LORA, moved
from tiny import PROMPTS

from gad.diffusion.sampling import sample
from gad.models.adapter import adapter_config, adapter_on_shared_base
from gad.models.model import load_model
from gad.models.published_students import load_whole_student, save_published_student
from gad.models.students import save_student, student_seed_dir, student_usage_line
from gad.runtime import paths
from gad.runtime.paths import stage_dir


@pytest.mark.parametrize("name", hub_folders.BUILDERS)
def test_an_adapter_is_published_as_a_whole_pipeline(name, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    hub_folders.save_teacher(name, stage_dir("smoke", "teacher"))
    teacher = load_model(stage_dir("smoke", "teacher"))
    student = moved(adapter_on_shared_base(teacher.denoiser, adapter_config(LORA)))
    save_student(student, teacher, student_seed_dir(stage_dir("smoke", "student", "gad"), 0))
    whole = load_whole_student("smoke", "gad", 0)
    assert student_usage_line(whole, 2).startswith("pipe(prompt")
    noise = torch.randn(2, *teacher.latent_shape, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected, plain, merged = (
            sample(denoise, noise, teacher.condition(PROMPTS), num_steps=2)[-1]
            for denoise in (student, teacher.denoiser, whole.denoiser)
        )
    assert torch.allclose(merged, expected, atol=1e-4 * expected.abs().max().item())
    assert not torch.allclose(plain, expected, atol=1e-2 * expected.abs().max().item())
    save_published_student(whole, tmp_path / "out", {})
    assert type(load_model(tmp_path / "out").pipeline.scheduler) is type(whole.pipeline.scheduler)


def test_weights_beyond_half_precision_are_refused_and_nothing_is_written(saved, tmp_path):
    model = load_model(saved)
    next(model.denoiser.network.parameters()).fill_(1e6)
    with pytest.raises(ValueError, match="has weights beyond half precision's range"):
        save_published_student(model, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
