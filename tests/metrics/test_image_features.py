import pytest
import torch

from gad.metrics.image_diversity import intra_prompt_distance, vendi_image_diversity
from gad.metrics.image_features import FEATURES, efflite0_feature_distance, efflite0_features, project_features
from gad.metrics.set_distances import frechet_distance


def normal(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_vendi_of_orthogonal_vectors_is_their_number(count):
    assert vendi_image_diversity(3 * torch.eye(count, 8)) == pytest.approx(count)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_vendi_of_equal_vectors_is_one(count):
    assert vendi_image_diversity(torch.ones(count, 8)) == pytest.approx(1, abs=1e-6)


def test_vendi_does_not_see_length_or_order():
    features = normal(6, 5)
    scaled = features.flip(0) * torch.arange(1, 7)[:, None]
    assert vendi_image_diversity(scaled) == pytest.approx(vendi_image_diversity(features))


def test_frechet_distance_of_a_set_with_itself_is_zero():
    features = normal(200, 6)
    assert frechet_distance(features, features.flip(0)) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_a_shifted_set_is_the_squared_shift():
    features, shift = normal(200, 6), torch.arange(6.0, dtype=torch.float64)
    assert frechet_distance(features, features + shift) == pytest.approx(shift.square().sum().item(), rel=1e-6)


def test_frechet_distance_of_a_stretched_set_is_its_closed_form():
    features, factors = normal(400, 3), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    features = torch.linalg.qr(features - features.mean(0)).Q * 399**0.5  # covariance exactly one
    assert frechet_distance(features, features * factors) == pytest.approx(
        (factors - 1).square().sum().item(), rel=1e-6
    )


def test_frechet_distance_is_symmetric_for_covariances_that_do_not_commute():
    a, b = normal(300, 4) @ normal(4, 4, seed=1), normal(300, 4, seed=2) @ normal(4, 4, seed=3)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)
    assert frechet_distance(a, b) > 0


@pytest.mark.parametrize("count", [2, 6])
def test_too_few_images_for_a_frechet_distance_raise_one_line(count):
    with pytest.raises(ValueError, match=f"in 6 dimensions needs more images than that, got {count}") as error:
        frechet_distance(normal(count, 6), normal(20, 6))
    assert "\n" not in str(error.value)


def test_one_image_has_no_distance_within_its_prompt():
    with pytest.raises(ValueError, match="needs at least 2, got 1"):
        intra_prompt_distance(normal(1, 6))


def test_projection_keeps_distances_along_the_leading_axes():
    flat = normal(50, 3) @ normal(3, 20, seed=1)
    (low,) = project_features(flat, dimensions=3)
    assert torch.allclose(torch.cdist(low, low), torch.cdist(flat, flat), atol=1e-6)


def test_features_do_not_depend_on_the_batch_size(truth):
    images = truth[1][:5]
    features = efflite0_features(images)
    assert features.shape == (5, FEATURES)
    assert torch.allclose(features, efflite0_features(images, batch_size=2), atol=1e-4)


def test_the_same_image_is_at_distance_zero_and_others_are_not(truth):
    features = efflite0_features(truth[1][:4])
    assert efflite0_feature_distance(features, features).abs().max() < 1e-6
    assert efflite0_feature_distance(features, features.roll(1, 0)).min() > 0.01
    assert intra_prompt_distance(features) > intra_prompt_distance(features[[0, 0, 0]]) == pytest.approx(0, abs=1e-6)
