import pytest
import torch

from gad.config import PromptsConfig
from gad.data.noise_pairs import NoisePairs, noise_pair_of
from gad.data.pair_generation import generate_independent_noise, generate_noise_pairs
from gad.data.prompts import load_prompts
from gad.diffusion.sampling import sample
from gad.diffusion.schedule import CosineSchedule
from gad.models.exact import ExactDenoiser
from gad.models.model import Model
from gad.runtime import fingerprint
from gad.runtime.files import read_json


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def make(tmp_path, point_teacher, smoke):
    """Run the generator to its end, or as far as ``states`` asks; the folder."""

    def make(name, *, cache_key="hash", states=None, **changes):
        config = smoke.noise_pairs.model_copy(update=changes)
        run = generate_noise_pairs(tmp_path / name, point_teacher, cache_key, config)
        for number, _ in enumerate(run, start=1):
            if number == states:
                run.close()
                break
        return tmp_path / name

    return make


def test_members_are_the_pair_and_independent_noises(point_pairs, smoke):
    ids, copies = torch.tensor([3, 20, 63]), smoke.noise_pairs.directions_per_noise
    assert len(point_pairs) == smoke.noise_pairs.num_pairs
    for k in range(copies):
        pair = noise_pair_of(ids, (2, 1, 1), smoke.noise_pairs, index=k)
        assert torch.equal(point_pairs.trajectories(ids, 0)[:, 0], pair.noise)
        assert torch.equal(point_pairs.trajectories(ids, 1 + k)[:, 0], pair.perturbed)
        free = generate_independent_noise(ids, (2, 1, 1), smoke.noise_pairs, index=k)
        assert torch.equal(point_pairs.trajectories(ids, 1 + copies + k)[:, 0], free)


def test_a_pair_is_a_noise_and_a_step_from_it(smoke):
    pair = noise_pair_of(range(4), (2, 1, 1), smoke.noise_pairs)
    assert torch.equal(pair.perturbed, pair.noise + smoke.noise_pairs.perturbation_scale * pair.direction)


def test_no_noise_is_used_twice(smoke):
    config, all_models = smoke.noise_pairs, range(smoke.noise_pairs.num_pairs)
    noises = [noise_pair_of(all_models, (2, 1, 1), config).noise]
    noises += [
        generate_independent_noise(all_models, (2, 1, 1), config, index=k) for k in range(config.directions_per_noise)
    ]
    assert len(torch.cat(noises).flatten(1).unique(dim=0)) == 3 * config.num_pairs


def test_stored_nodes_are_those_of_the_teachers_ode(point_pairs, point_teacher, smoke):
    config, ids = smoke.noise_pairs, torch.arange(16)
    noise = noise_pair_of(ids, (2, 1, 1), config).noise
    states = sample(point_teacher.denoiser, noise, None, num_steps=config.teacher_steps)
    kept = states[:: config.teacher_steps // config.student_steps].transpose(0, 1)
    assert torch.allclose(point_pairs.trajectories(ids, 0), kept, atol=1e-5)


def test_every_sample_may_ask_for_its_own_member_in_any_order(point_pairs):
    ids, member = torch.tensor([40, 2, 17, 2]), torch.tensor([1, 0, 4, 3])
    mixed = point_pairs.trajectories(ids, member)
    singly = [point_pairs.trajectories(ids[i : i + 1], int(member[i])) for i in range(4)]
    assert torch.equal(mixed, torch.cat(singly))


def test_pairs_do_not_depend_on_batch_size(make):
    folders = [make(f"batch{size}", batch_size=size) for size in (16, 3)]
    assert len({(folder / "fingerprint.txt").read_text() for folder in folders}) == 1
    whole, small = map(NoisePairs, folders)
    for member in range(5):
        ids = torch.arange(len(whole))
        assert torch.allclose(whole.trajectories(ids, member), small.trajectories(ids, member), atol=1e-5)


def test_pairs_do_not_depend_on_shard_size(make):
    whole, small = (NoisePairs(make(f"shard{size}", shard_size=size)) for size in (64, 10))
    ids = torch.arange(len(whole))
    assert torch.allclose(whole.trajectories(ids, 1), small.trajectories(ids, 1), atol=1e-5)


@pytest.mark.parametrize("states", [1, 2, 3])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(make, states):
    folder = make("killed", states=states)
    assert not (folder / "manifest.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard_*.safetensors")}
    assert len(kept) == states - 1
    make("killed")
    assert contents(folder) == contents(make("whole"))
    assert kept == {name: (folder / name).stat().st_mtime_ns for name in kept}


def test_a_lost_shard_and_manifest_are_made_again(make):
    folder = make("lost")
    before = contents(folder)
    (folder / "shard_000016.safetensors").unlink()
    (folder / "manifest.json").unlink()
    make("lost")
    assert contents(folder) == before


@pytest.mark.parametrize("change", [{"cache_key": "another teacher"}, {"perturbation_scale": 0.2}, {"num_pairs": 32}])
def test_work_of_another_teacher_or_configuration_is_thrown_away(make, change):
    folder = make("pairs", **change)
    make("pairs")
    assert contents(folder) == contents(make("fresh"))


def test_work_of_older_code_is_thrown_away(make, monkeypatch):
    folder = make("pairs", states=3)
    kept = {path.name for path in folder.glob("shard_*.safetensors")}
    monkeypatch.setattr(fingerprint, "code_hash", lambda stage: "changed")
    make("pairs", states=1)
    assert kept and not any((folder / name).exists() for name in kept)


def test_work_of_other_prompts_is_thrown_away(make, tmp_path):
    file = tmp_path / "prompts.txt"
    made = []
    for text in ("a cat", "a dog"):
        file.write_text(text)
        load_prompts.cache_clear()
        folder = make("pairs", prompts=PromptsConfig(file=str(file)))
        made.append((folder / "fingerprint.txt").read_text())
    assert made[0] != made[1]


@pytest.mark.parametrize("harm", ["flip a bit", "cut", "delete"])
def test_a_corrupt_shard_is_refused_in_one_line_and_made_again(make, harm):
    folder = make("pairs")
    shard = folder / "shard_000032.safetensors"
    whole = shard.read_bytes()
    if harm == "delete":
        shard.unlink()
    else:
        shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if harm == "flip a bit" else whole[:-20])
    with pytest.raises(ValueError, match=r"shard_000032.safetensors is corrupt") as error:
        NoisePairs(folder)
    assert len(str(error.value).splitlines()) == 1
    others = {path: path.stat().st_mtime_ns for path in folder.glob("shard_*.safetensors") if path != shard}
    NoisePairs(make("pairs"))  # as the message says
    assert shard.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_pairs_of_another_teacher_are_refused_in_one_line(make):
    folder = make("pairs", cache_key="first")
    NoisePairs(folder, teacher="first")
    with pytest.raises(ValueError, match="^the noise pairs in .* are another teacher's: run noise_pairs again$"):
        NoisePairs(folder, teacher="second")


def test_unfinished_pairs_are_refused_in_one_line(make):
    with pytest.raises(ValueError, match="there are no finished noise pairs in"):
        NoisePairs(make("killed", states=2))


def test_answers_that_are_not_finite_are_never_written(tmp_path, smoke):
    broken = Model(ExactDenoiser(torch.full((4, 2, 1, 1), torch.nan), CosineSchedule()), (2, 1, 1))
    with pytest.raises(
        ValueError, match="^the teacher's outputs of samples 0 to 15 are not finite; is its folder whole"
    ):
        list(generate_noise_pairs(tmp_path, broken, "hash", smoke.noise_pairs))
    assert not list(tmp_path.glob("*.safetensors"))


def test_pairs_of_other_settings_are_refused_in_one_line_and_those_cut_in_other_batches_are_not(make, smoke):
    folder = make("pairs", batch_size=7, shard_size=10)
    NoisePairs(folder, smoke.noise_pairs)
    other = smoke.noise_pairs.model_copy(update={"perturbation_scale": 0.123456789, "guidance_scale": 2.0})
    wrong = r"made with perturbation_scale 0.\d+ where the recipe says 0.123456789, guidance_scale 1.0 where .*2.0"
    with pytest.raises(ValueError, match=wrong + ": run noise_pairs again") as error:
        NoisePairs(folder, other)
    assert len(str(error.value).splitlines()) == 1


def test_the_configuration_comes_back_from_the_manifest(make, smoke):
    folder = make("pairs", perturbation_scale=0.123456789)
    assert NoisePairs(folder).config == smoke.noise_pairs.model_copy(update={"perturbation_scale": 0.123456789})
    assert len(read_json(folder / "manifest.json")["shards"]) == 4


def test_jvp_power_is_the_mean_squared_response(point_pairs, smoke):
    ids = torch.arange(len(point_pairs))
    change = point_pairs.trajectories(ids, 1)[:, -1] - point_pairs.trajectories(ids, 0)[:, -1]
    by_hand = sum(float(value) ** 2 for value in change.flatten()) / change.numel() / 0.3**2
    assert point_pairs.jvp_power() == pytest.approx(by_hand, rel=1e-5)


SINGULAR = {"direction": "singular", "num_singular": 1, "singular_rounds": 6}


def test_singular_pairs_step_along_what_the_teachers_chain_answers_most(make, point_teacher, smoke):
    pairs, ids = NoisePairs(make("singular", **SINGULAR, singular_steps=8)), torch.arange(0, 64, 5)
    noise = pairs.trajectories(ids, 0)[:, 0]
    whole = [
        torch.func.jacrev(lambda z: sample(point_teacher.denoiser, z, None, num_steps=8)[-1])(z[None]) for z in noise
    ]
    strongest = torch.linalg.svd(torch.stack(whole).view(-1, 2, 2)).Vh[:, 0]
    for k in range(2):
        v = pairs.directions(ids, k)
        h = smoke.noise_pairs.perturbation_scale
        assert torch.allclose(pairs.trajectories(ids, 1 + k)[:, 0], noise + h * v, atol=1e-6)
        cosine = torch.nn.functional.cosine_similarity(v.flatten(1), strongest, dim=1).abs()
        assert cosine.median() > 0.999
    all_models = pairs.directions(torch.arange(64), 0).flatten(1).square().sum(1)
    assert 0.5 < all_models.mean() < 1.6  # g ~ N(0, 1) along one vector


def test_a_spherical_step_turns_inside_the_singular_space_and_leaves_the_rest(make):
    pairs, ids = NoisePairs(make("turned", **SINGULAR, step="spherical")), torch.arange(64)
    noise, moved, v = pairs.trajectories(ids, 0)[:, 0], pairs.trajectories(ids, 1)[:, 0], pairs.directions(ids, 0)
    along = torch.nn.functional.normalize(v.flatten(1), dim=1)
    change = (moved - noise).flatten(1)
    assert torch.allclose((change * along).sum(1, keepdim=True) * along, change, atol=1e-5)


@pytest.mark.parametrize("states", [1, 3])
def test_a_killed_run_of_singular_pairs_goes_on_and_gives_the_same_bytes(make, states):
    folder = make("killed", **SINGULAR, states=states)
    make("killed", **SINGULAR)
    assert contents(folder) == contents(make("whole", **SINGULAR))


def test_singular_pairs_do_not_depend_on_batch_and_shard_size(make):
    whole = NoisePairs(make("whole", **SINGULAR))
    small = NoisePairs(make("small", **SINGULAR, batch_size=5, shard_size=10))
    ids = torch.arange(64)
    assert torch.allclose(whole.directions(ids, 1), small.directions(ids, 1), atol=1e-4)
    assert torch.allclose(whole.trajectories(ids, 1)[:, 0], small.trajectories(ids, 1)[:, 0], atol=1e-4)


def test_other_directions_come_back_from_the_seed(point_pairs, smoke):
    ids = torch.tensor([4, 60])
    pair = noise_pair_of(ids, (2, 1, 1), smoke.noise_pairs, index=1)
    assert torch.equal(point_pairs.directions(ids, 1), pair.direction)


def test_a_singular_direction_without_its_basis_is_refused(smoke):
    with pytest.raises(ValueError, match="a basis of their own"):
        noise_pair_of([0], (2, 1, 1), smoke.noise_pairs.model_copy(update=SINGULAR))
