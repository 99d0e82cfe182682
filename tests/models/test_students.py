"""Trained students that are read back beside their teacher."""

import copy

import torch
from tiny import PROMPTS

from gad.models.model import load_model
from gad.models.students import load_students, save_student, student_seed_dir
from gad.runtime import paths


def test_students_share_what_is_their_teachers_and_keep_their_own_network(saved, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    teacher, place = load_model(saved), student_seed_dir(paths.stage_dir("smoke", "student", "gad"), 0)
    trained = copy.deepcopy(teacher.denoiser)
    next(trained.network.parameters()).add_(0.1)
    save_student(trained, teacher, place)
    ((_, _, student),) = load_students("smoke", teacher)
    assert student.pipeline.vae is teacher.pipeline.vae
    assert student.pipeline.text_encoder is teacher.pipeline.text_encoder
    alone, words = load_model(place), teacher.condition(PROMPTS)
    z, t = torch.randn(2, *teacher.latent_shape), torch.ones(2)
    assert torch.equal(student.denoiser(z, t, words), alone.denoiser(z, t, alone.condition(PROMPTS)))
    assert torch.equal(student.decode(z), alone.decode(z))
    assert not torch.equal(student.denoiser(z, t, words), teacher.denoiser(z, t, words))
