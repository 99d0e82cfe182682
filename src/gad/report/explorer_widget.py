"""The explorer's sliders. Everything that is computed lies in ``explorer.py``."""

from collections.abc import Callable

import ipywidgets as widgets

from gad.report.explorer import Explorer, Place

Picture = Callable[..., bytes]
"""Each model's output, and the points that it is drawn on (``reference``, None for images), to a PNG."""


def make_explorer_widget(
    recipes: list[str], start: str, open_recipe: Callable[[str], Explorer], picture: Picture
) -> widgets.VBox:
    """Recipe, prompt, seed, direction and angle over a row of images, the teacher first.

    A student follows the angle at once; the teacher's images at a new place are made first, which takes seconds.
    """
    opened = {start: open_recipe(start)}
    recipe = widgets.Dropdown(options=recipes, value=start, description="recipe")
    prompt = widgets.Dropdown(options=opened[start].prompts, description="prompt", layout={"width": "32em"})
    seed = widgets.IntSlider(0, 0, 20, description="seed", continuous_update=False)
    direction = widgets.Dropdown(options=opened[start].directions, description="direction")
    angle = widgets.IntSlider(0, -90, 90, 3, description="angle °")
    image = widgets.Image(format="png")

    def redraw(_=None):
        place = Place(prompt.value, seed.value, direction.value)
        explorer = opened[recipe.value]
        image.value = picture(explorer.look(place, angle.value), reference=explorer.points)

    def reopen(_):
        if recipe.value not in opened:
            opened[recipe.value] = open_recipe(recipe.value)
        for choice, options in ((prompt, opened[recipe.value].prompts), (direction, opened[recipe.value].directions)):
            choice.unobserve(redraw, "value")  # else each change draws once
            choice.options = options
            choice.observe(redraw, "value")
        redraw()

    recipe.observe(reopen, "value")
    for control in (prompt, seed, direction, angle):
        control.observe(redraw, "value")
    redraw()
    return widgets.VBox([widgets.HBox([recipe, prompt]), widgets.HBox([seed, direction, angle]), image])
