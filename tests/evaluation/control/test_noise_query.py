"""The noise library, retrieval, and what is asked of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from gad.config.sample_ids import LIBRARY
from gad.data.swiss_roll import make_swiss_roll
from gad.diffusion.noise import draw_noise
from gad.diffusion.schedule import CosineSchedule
from gad.evaluation.control.attribute_query import (
    make_attribute_requests,
    measure_requested_attributes,
    request_extreme_shift,
    request_rank_correlation,
    summarise_attribute_requests,
)
from gad.evaluation.control.noise_library import (
    build_library,
    describe_library_entries,
    library_feature_names,
    open_library,
    retrieve_from_noise_library,
    weights_hash,
)
from gad.metrics.clip_encoder import load_clip_encoder
from gad.metrics.clip_score import clip_cosine_score
from gad.metrics.image_attributes import low_level_attributes
from gad.models.exact import ExactDenoiser
from gad.models.model import Model, load_model
from gad.models.sampler import Sampler
from gad.runtime.files import read_tensors, write_json


@pytest.fixture
def teacher(point_teacher):
    return Sampler("teacher", 0, point_teacher, num_steps=4, batch_size=7)


@pytest.fixture(scope="module")
def encoder():
    return load_clip_encoder(None)


def build(folder, teacher, *, size=20, shard_size=8, encoder=None):
    list(build_library(folder, teacher, encoder, [""] * size, seed=0, shard_size=shard_size))
    return open_library(folder)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_retrieval_equals_brute_force(metric):
    features, queries = (draw_noise(ids, (3, 1, 1), seed=0).flatten(1) for ids in (range(60), range(500, 540)))
    for query, found in zip(
        queries, retrieve_from_noise_library(features, queries, metric=metric).tolist(), strict=True
    ):
        if metric == "cosine":
            scores = [float(query @ f / (query.norm() * f.norm())) for f in features]
        else:
            scores = [-float((query - f).norm()) for f in features]
        assert scores[found] == pytest.approx(max(scores), abs=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_entry_finds_itself(metric):
    features = draw_noise(range(60), (3, 1, 1), seed=0).flatten(1)
    assert retrieve_from_noise_library(features, features, metric=metric).tolist() == list(range(60))
    with pytest.raises(ValueError, match="^the noise library is empty$"):
        retrieve_from_noise_library(features[:0], features, metric=metric)


def test_the_library_does_not_depend_on_the_batch_size(teacher, tmp_path, point_teacher):
    one = build(tmp_path / "a", teacher)
    other = build(tmp_path / "b", Sampler("teacher", 0, point_teacher, num_steps=4, batch_size=3))
    assert torch.allclose(one.features, other.features, atol=1e-5)
    whole = build(tmp_path / "c", teacher, shard_size=20)
    assert torch.allclose(one.features, whole.features, atol=1e-5)
    entries = torch.tensor([5, 17])
    assert torch.equal(one.noise(entries), draw_noise([LIBRARY + 5, LIBRARY + 17], (2, 1, 1), seed=0))
    assert torch.allclose(teacher.generate(one.noise(entries), ["", ""]), one.features[entries], atol=1e-5)


def test_an_interrupted_build_goes_on_where_it_stopped(teacher, tmp_path):
    steps = build_library(tmp_path / "half", teacher, None, [""] * 20, seed=0, shard_size=8)
    assert [next(steps), next(steps)] == [8, 16]
    steps.close()
    with pytest.raises(ValueError, match="^there is no finished noise library in"):
        open_library(tmp_path / "half")
    first = tmp_path / "half" / "shard_000000.safetensors"
    made = first.stat().st_mtime_ns
    resumed, straight = build(tmp_path / "half", teacher), build(tmp_path / "whole", teacher)
    assert first.stat().st_mtime_ns == made  # not made again
    assert torch.equal(resumed.features, straight.features)


def test_work_of_another_teacher_is_not_mixed_in(teacher, tmp_path):
    build(tmp_path / "library", teacher)
    other = Sampler(
        "teacher", 0, Model(ExactDenoiser(make_swiss_roll(9).view(-1, 2, 1, 1), CosineSchedule()), (2, 1, 1)), 4
    )
    assert torch.equal(build(tmp_path / "library", other).features, build(tmp_path / "own", other).features)


def test_a_foreign_damaged_or_empty_library_is_refused_in_one_line(teacher, tmp_path):
    folder = tmp_path / "library"
    build(folder, teacher)
    right = {"teacher": weights_hash(teacher.model), "features": library_feature_names(None, "unconditional")}
    right |= {"captions": [""] * 20, "steps": teacher.num_steps, "guidance_scale": 1.0}
    assert len(open_library(folder, **right)) == 20
    faults = {
        r"made with other teacher: \w+, not 0123; build one": right | {"teacher": "0123"},
        r"made with other features: points, not clip; build one": right | {"features": "clip"},
        r"made with other steps: \d+, not 1; build one": right | {"steps": 1},
        r"made with other guidance scale: 1.0, not 3; build one": right | {"guidance_scale": 3},
        r"has 20 entries and the recipe asks for 21, or they show other": right | {"captions": [""] * 21},
        r"has 20 entries and the recipe asks for 20, or they show other": right | {"captions": ["a dog"] * 20},
    }
    for message, wanted in faults.items():
        with pytest.raises(ValueError, match=message) as caught:
            open_library(folder, **wanted)
        assert "\n" not in str(caught.value)
    (folder / "shard_000008.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="^shard .*shard_000008.safetensors is corrupt"):
        open_library(folder)
    build(folder, teacher)  # makes it anew
    assert len(open_library(folder, **right)) == 20
    write_json(folder / "manifest.json", {"teacher": "a", "features": "b", "shards": {}, "seed": 0, "shape": [2, 1, 1]})
    with pytest.raises(ValueError, match="is empty$"):
        open_library(folder)


def test_the_hash_of_a_model_follows_its_numbers(pipelines, saved, backbone):
    model = load_model(saved)
    assert weights_hash(model) == weights_hash(load_model(saved))
    hashes = {weights_hash(model)}
    with torch.no_grad():
        next(model.pipeline.text_encoder.parameters()).add_(1e-3)
    hashes.add(weights_hash(model))
    assert len(hashes) == 2


def test_a_picture_library_holds_what_the_teacher_shows(saved, encoder, tmp_path):
    teacher = Sampler("teacher", 0, load_model(saved), num_steps=1, batch_size=4)
    library = build(tmp_path / "library", teacher, size=6, shard_size=4, encoder=encoder)
    images = teacher.generate(library.noise(torch.arange(6)), [""] * 6)
    again = describe_library_entries(images, encoder)
    assert torch.allclose(library.features, again["features"], atol=1e-4)
    assert torch.allclose(torch.stack(list(library.attributes.values()), 1), low_level_attributes(images), atol=1e-4)
    assert library.previews.shape == (6, 3, 64, 64) and library.previews.dtype == torch.uint8
    assert set(read_tensors(tmp_path / "library" / "shard_000004.safetensors")) == {
        "features",
        "attributes",
        "previews",
    }


def test_the_score_is_the_cosine_of_image_and_prompt(encoder):
    images, prompts = (
        torch.rand(2, 3, 64, 64) * 2 - 1,
        ["a red car on a white background", "a cat on a pink background"],
    )
    wanted = torch.cosine_similarity(encoder.images(images), encoder.texts(prompts))
    assert torch.allclose(clip_cosine_score(encoder, images, prompts), wanted, atol=1e-6)


@pytest.fixture
def requests():
    """Requests to a library of 200 flat pictures of random colours, and these pictures."""
    colours = torch.rand(200, 3, 1, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = colours.expand(-1, -1, 8, 8) * torch.linspace(0.5, 1, 8)  # not quite flat: each attribute varies
    values = dict(
        zip(
            ("brightness", "saturation", "blue"),
            low_level_attributes(images, ["brightness", "saturation", "blue"]).T,
            strict=True,
        )
    )
    return make_attribute_requests(values, 20), images


def test_requests_name_the_entry_that_is_nearest(requests):
    table, entries = requests[0].table, requests[0].entries
    assert len(table) == len(entries) == 3 * 20
    shown = measure_requested_attributes(requests[0], requests[1][entries])
    assert np.abs(shown.numpy() - table["request"]).max() < 0.03  # 200 entries leave small gaps
    assert table.groupby("attribute")["request"].is_monotonic_increasing.all()


def test_a_perfect_student_follows_requests_and_a_constant_one_does_not(requests):
    asked, images = requests
    perfect = asked.table.assign(prompt=0, shown=measure_requested_attributes(asked, images[asked.entries]).numpy())
    constant = asked.table.assign(
        prompt=0, shown=measure_requested_attributes(asked, images[:1].expand(60, -1, -1, -1)).numpy()
    )
    blind = asked.table.assign(prompt=0, shown=np.random.default_rng(0).normal(size=60))
    numbers = {
        name: summarise_attribute_requests(rows) for name, rows in (("p", perfect), ("c", constant), ("b", blind))
    }
    assert numbers["p"]["attribute_rank_correlation"] > 0.995
    assert numbers["p"]["brightness_shift"] > 2
    assert numbers["c"]["attribute_rank_correlation"] == numbers["c"]["attribute_shift"] == 0
    assert abs(numbers["b"]["attribute_rank_correlation"]) < 0.3


def test_rank_correlation_on_short_lists():
    assert request_rank_correlation([1, 2, 3, 4], [10, 20, 30, 99]) == pytest.approx(1)
    assert request_rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert request_rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(1 - 6 * 4 / (4 * 15))


def test_the_shift_is_the_difference_of_the_outer_thirds():
    rows = pd.DataFrame(
        {"quantile": np.arange(0.05, 1, 0.1), "shown": [*[1.0] * 3, *[9.0] * 4, *[2.0] * 3], "spread": 0.5}
    )
    assert request_extreme_shift(rows) == pytest.approx((2 - 1) / 0.5)
