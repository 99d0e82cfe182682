"""The tutorial's images: notebook 00_swiss_roll in short."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
from figure_style import GRID, RING, colour, panel_labels


@cache
def _swiss_roll() -> dict:
    import torch

    from gad.data.swiss_roll import make_swiss_roll
    from gad.diffusion.noise import draw_direction, draw_noise, perturb
    from gad.diffusion.sampling import sample
    from gad.diffusion.schedule import CosineSchedule
    from gad.models.exact import ExactDenoiser
    from gad.models.mlp import build_point_network, point_denoiser

    torch.manual_seed(0)
    points = make_swiss_roll(2000)
    teacher = ExactDenoiser(points.view(-1, 2, 1, 1), CosineSchedule())
    pairs, steps, shape = 300, 1200, (2, 1, 1)
    to_data = lambda z: sample(teacher, z, None, num_steps=40)[-1]  # noqa: E731
    z, v = draw_noise(range(pairs), shape, seed=0), draw_direction(range(pairs), shape, seed=0, kind="isotropic")
    moved = perturb(z, v, h=0.3, step="straight")
    extra = draw_noise(range(pairs, 2 * pairs), shape, seed=0)
    target, target_moved, target_extra = to_data(z), to_data(moved), to_data(extra)
    power = (target_moved - target).square().mean()
    students = {}
    for name in ("baseline", "noise_augmentation", "gad"):
        starts, targets = (
            ((z, extra), (target, target_extra)) if name == "baseline" else ((z, moved), (target, target_moved))
        )
        network = build_point_network(128, 4, seed=0)
        student, time = point_denoiser(network), torch.ones(pairs)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            made = [student(start, time) for start in starts]
            loss = sum((a - b).square().mean() for a, b in zip(made, targets, strict=True)) / 2
            if name == "gad":
                loss = loss + ((made[1] - made[0]) - (targets[1] - targets[0])).square().mean() / power
            optimizer.zero_grad(), loss.backward(), optimizer.step(), schedule.step()
        students[name] = student
    maps = {"teacher": to_data}
    maps |= {name: (lambda x, s=student: sample(s, x, None, num_steps=1)[-1]) for name, student in students.items()}
    unseen = draw_noise(range(10**6, 10**6 + 1500), shape, seed=0)
    path = torch.cat(
        [
            unseen[k] + torch.linspace(-0.6, 0.6, 41).view(-1, 1, 1, 1) * torch.tensor([1.0, 0.3]).view(2, 1, 1)
            for k in (3, 11, 21)
        ]
    ).view(3, 41, 2, 1, 1)
    with torch.no_grad():
        outputs = {name: phi(unseen).flatten(1).numpy() for name, phi in maps.items()}
        paths = {name: np.stack([phi(line).flatten(1).numpy() for line in path]) for name, phi in maps.items()}
        trajectory = [state.flatten(1).numpy() for state in sample(teacher, unseen, None, num_steps=40)]
    noise_pairs = {"z": z, "moved": moved, "target": target, "target_moved": target_moved}
    noise_pairs = {name: tensor.flatten(1).numpy() for name, tensor in noise_pairs.items()}
    return {
        "points": points.numpy(),
        "outputs": outputs,
        "paths": paths,
        "trajectory": trajectory,
        "noises": unseen.flatten(1).numpy(),
        **noise_pairs,
    }


def _square(axis, title: str, theme: dict, limit: float | None = None) -> None:
    panel_labels(axis, title, theme)
    axis.set_aspect("equal")
    axis.set_xticks([]), axis.set_yticks([])
    axis.grid(False)
    if limit:
        axis.set_xlim(-limit, limit), axis.set_ylim(-limit, limit)


def _angle(noises: np.ndarray) -> np.ndarray:
    return np.arctan2(noises[:, 1], noises[:, 0])


def draw_tutorial_teacher(theme: dict):
    """Noise to data in 40 steps; a point keeps the colour of its noise."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7))
    for axis, step in zip(axes, (0, 20, 32, 40), strict=True):
        cloud = found["trajectory"][step]
        axis.scatter(*cloud.T, c=_angle(found["noises"]), cmap=RING, s=5, linewidths=0, rasterized=True)
        _square(axis, {0: "t = 1: noise", 40: "t = 0: data"}.get(step, f"t = {1 - step / 40:g}"), theme)
    return figure


def draw_tutorial_pairs(theme: dict):
    """Noise pairs and the teacher's response to them."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 2, figsize=(8, 4))
    chosen = range(0, 60)
    axes[1].scatter(*found["points"].T, color=theme[GRID], s=4, linewidths=0, rasterized=True)
    for axis, (start, end) in zip(axes, (("z", "moved"), ("target", "target_moved")), strict=True):
        for k in chosen:
            axis.plot(*zip(found[start][k], found[end][k], strict=True), color=colour("gad", theme), linewidth=1.4)
        axis.scatter(*found[start][chosen].T, color=theme["teacher"], s=14, zorder=3, label="z")
        axis.scatter(
            *found[end][chosen].T,
            color=colour("noise_augmentation", theme),
            s=14,
            marker="s",
            zorder=3,
            label="z' = z + h v",
        )
    _square(axes[0], "noises z and z' = z + h v", theme)
    _square(axes[1], "the teacher's outputs: its response", theme)
    return figure


def draw_tutorial_students(theme: dict):
    """The same 1500 unseen noises through teacher and students; a point keeps the colour of its noise."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7))
    titles = {"noise_augmentation": "noise augmentation", "gad": "GAD"}
    for axis, (name, cloud) in zip(axes, found["outputs"].items(), strict=True):
        axis.scatter(*cloud.T, c=_angle(found["noises"]), cmap=RING, s=5, linewidths=0, rasterized=True)
        _square(axis, titles.get(name, name), theme, 1.3 * np.abs(found["points"]).max())
    return figure


def draw_tutorial_paths(theme: dict):
    """Three noises, each moved along one direction: where the outputs go."""
    found = _swiss_roll()
    figure, axes = plt.subplots(1, 3, figsize=(9.2, 3.3))
    for axis, name in zip(axes, ("baseline", "noise_augmentation", "gad"), strict=True):
        axis.scatter(*found["points"].T, color=theme[GRID], s=3, linewidths=0, rasterized=True)
        for line in found["paths"]["teacher"]:
            axis.plot(*line.T, color=theme["teacher"], linewidth=5, alpha=0.35, solid_capstyle="round")
        for line in found["paths"][name]:
            axis.plot(*line.T, color=colour(name, theme) if name != "baseline" else "#d1495b", linewidth=1.8)
        _square(axis, {"gad": "GAD", "noise_augmentation": "noise augmentation"}.get(name, name), theme)
    return figure
