"""BoxDiff's energy written slowly a second time: one sample, one object, one cell at a time."""

import math


def blurred(cells: list[list[float]]) -> list[list[float]]:
    """Weights exp(-d² / (2 · .5²)) over the 3 x 3 neighbours; beyond the border the inner neighbour counts."""
    side = len(cells)
    weight = {d: math.exp(-(d**2) / 0.5) for d in (-1, 0, 1)}
    total = sum(weight.values())

    def inside(place: int) -> int:
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    return [
        [
            sum(
                weight[dy] * weight[dx] / total**2 * cells[inside(y + dy)][inside(x + dx)]
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            )
            for x in range(side)
        ]
        for y in range(side)
    ]


def _top(values: list[float], share: float):
    count = max(1, int(len(values) * share + 1e-6))
    return sum(sorted(values, reverse=True)[:count]) / count


def energy(cells, box: tuple[int, int, int, int], share: float, reach: int):
    """Of one map, for a box in cells; the map's numbers may carry gradients."""
    side, (left, top, right, bottom) = len(cells), box
    within = [cells[y][x] for y in range(side) for x in range(side) if left <= x < right and top <= y < bottom]
    without = [cells[y][x] for y in range(side) for x in range(side) if not (left <= x < right and top <= y < bottom)]
    result = max(0, 1 - _top(within, share)) + (_top(without, share) if without else 0)
    for place in range(side):
        if min(abs(place - left), abs(place - right)) <= reach:
            result = result + abs(max(row[place] for row in cells) - int(left <= place < right)) / side
        if min(abs(place - top), abs(place - bottom)) <= reach:
            result = result + abs(max(cells[place]) - int(top <= place < bottom)) / side
    return result
