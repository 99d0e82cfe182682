"""Distances of sets against Gaussians whose distance is known, and manifold measures on sets with known modes."""

import pytest
import torch

from gad.metrics.image_features import project_features
from gad.metrics.precision_recall import precision_recall_density_coverage
from gad.metrics.set_distances import frechet_distance, kernel_distance, set_distances


def draw(count: int, dim: int, *, mean: float = 0.0, scale: float = 1.0, key: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(key)
    return mean + scale * torch.randn(count, dim, generator=generator, dtype=torch.float64)


def test_a_set_has_no_distance_to_itself_and_covers_itself():
    found = set_distances(draw(200, 8), draw(200, 8), axes=8, neighbours=3)
    assert found["frechet"] == pytest.approx(0, abs=1e-9)
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert found["n"] == 200


def test_the_frechet_distance_of_gaussians_is_the_closed_form():
    theirs, ours = project_features(draw(20000, 4, key=1), draw(20000, 4, mean=1.0, scale=2.0), dimensions=4)
    assert frechet_distance(ours, theirs) == pytest.approx(4 * 1**2 + 4 * (2 - 1) ** 2, rel=0.03)


def slow_kernel_distance(a, b) -> float:
    """The same sum, pair by pair."""

    def k(x, y) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = [k(a[i], b[j]) for i in range(n) for j in range(m) if n != m or i != j]
    return within_a + within_b - 2 * sum(between) / len(between)


@pytest.mark.parametrize("count", [7, 9])
def test_the_kernel_distance_is_its_sum_pair_by_pair(count):
    a, b = draw(count, 5), draw(9, 5, mean=0.5, key=1)
    assert kernel_distance(a, b) == pytest.approx(slow_kernel_distance(a, b))


def test_answers_to_the_same_noises_are_no_nearer_in_kernel_distance_than_answers_to_others():
    found = []
    for i in range(400):
        shared, own, other = (draw(12, 6, key=3 * i + k) for k in range(3))
        found.append(kernel_distance(0.8 * shared + 0.6 * own, 0.8 * shared + 0.6 * other))
    found = torch.tensor(found)
    assert abs(found.mean()) < 3 * found.std() / 400**0.5


def test_the_kernel_distance_of_equal_distributions_is_zero_on_average_even_for_few_images():
    found = torch.tensor([kernel_distance(draw(12, 6, key=2 * i), draw(12, 6, key=2 * i + 1)) for i in range(400)])
    assert abs(found.mean()) < 3 * found.std() / 400**0.5


def test_few_images_bias_the_frechet_distance_which_is_why_the_kernel_distance_stands_beside_it():
    few, many = (
        set_distances(draw(n, 8, key=2), draw(n, 8, key=3), axes=8, neighbours=3)["frechet"] for n in (24, 2000)
    )
    assert few > 20 * many


def test_the_kernel_distance_is_the_closed_form_in_one_dimension():
    """E[(xy + 1)³] of independent x, y is E[x³]² + 3 E[x²]² + 3 E[x]² + 1."""
    a, b = torch.tensor([[-1.0], [1.0]]).repeat(1500, 1), torch.tensor([[1.0], [3.0]]).repeat(1500, 1)

    def moments(x) -> list[float]:
        return [x.pow(p).mean().item() for p in (1, 2, 3)]

    ma, mb = moments(a), moments(b)
    exact = sum(w * (p - q) ** 2 for w, p, q in zip((3, 3, 1), ma, mb, strict=True))
    assert kernel_distance(a, b) == pytest.approx(exact, rel=0.01)


def modes(kept: list[int], *, each: int = 40, key: int = 0) -> torch.Tensor:
    """Tight clusters far apart, at 100 along the axis of each mode's number."""
    return torch.cat([100 * torch.eye(4, dtype=torch.float64)[k] + draw(each, 4, key=key + k) for k in kept])


def test_a_lost_mode_costs_recall_and_coverage_and_an_invented_one_precision_and_density():
    reference = modes([0, 1, 2])
    lost = precision_recall_density_coverage(modes([0, 1], key=9), reference, neighbours=5)
    assert lost["precision"] > 0.7 and lost["recall"] < 2 / 3 and lost["coverage"] < 2 / 3
    invented = precision_recall_density_coverage(modes([0, 1, 2, 3], key=9), reference, neighbours=5)
    assert invented["precision"] <= 3 / 4 and invented["recall"] > 0.7 and invented["density"] < 1


def test_sets_of_one_distribution_have_density_one_and_the_known_coverage():
    """E[coverage] = 1 - (N-1)...(N-k) / (2N-1)...(2N-k) for equal sets of N (Naeem et al. 2020)."""
    n, k = 300, 5
    found = [
        precision_recall_density_coverage(draw(n, 3, key=2 * i), draw(n, 3, key=2 * i + 1), neighbours=k)
        for i in range(8)
    ]
    expected = 1.0
    for j in range(1, k + 1):
        expected *= (n - j) / (2 * n - j)
    mean = {name: sum(f[name] for f in found) / len(found) for name in ("density", "coverage")}
    assert mean["coverage"] == pytest.approx(1 - expected, abs=0.01)
    assert mean["density"] == pytest.approx(1, abs=0.05)


def test_too_few_images_and_nan_are_refused_in_one_line():
    with pytest.raises(ValueError, match="32 axes needs at least 64 images in each set, got 63") as error:
        set_distances(draw(63, 40), draw(80, 40), axes=32, neighbours=3)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="look for NaN images"):
        set_distances(draw(80, 4) * float("nan"), draw(80, 4), axes=4, neighbours=3)
    with pytest.raises(ValueError, match="more than 5 images, got 5"):
        precision_recall_density_coverage(draw(5, 2), draw(9, 2), neighbours=5)
