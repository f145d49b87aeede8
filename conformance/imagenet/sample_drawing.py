"""One procedurally drawn picture: textured ground, figures, shading.

A recipe says what all pictures of a class have in common; a generator decides the rest. Arithmetic
is kept to operations that every CPU rounds alike, because bytes must not depend on the machine.
"""

from __future__ import annotations

import colorsys
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Field = npt.NDArray[np.floating[Any]]
Colour = tuple[float, float, float]  # hue in turns, saturation, value; each 0 to 1
Point = tuple[float, float]
Size = tuple[int, int]  # width and height in pixels, as PIL has it

# Grounds are computed on a grid this many times coarser than the picture: a JPEG of a photograph
# has little finer detail, and the cost falls by the square.
_COARSENESS = 3


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What all pictures of one class have in common."""

    ground: tuple[Colour, Colour]
    texture: str
    waves: float  # periods of the texture along the short side
    angle: float  # of the texture, in radians
    figure: Colour
    outline: tuple[Point, ...]
    figures: int


def invent_recipe(rng: np.random.Generator) -> Recipe:
    """Return a recipe drawn from the generator."""
    return Recipe(
        ground=(_invent_colour(rng), _invent_colour(rng)),
        texture=_pick(rng, sorted(_TEXTURES)),
        waves=rng.uniform(2, 9),
        angle=rng.uniform(0, math.pi),
        figure=_invent_colour(rng),
        outline=_invent_outline(rng),
        figures=int(rng.integers(1, 7)),
    )


def draw_picture(recipe: Recipe, size: Size, rng: np.random.Generator) -> Image.Image:
    """Return an RGB picture of the given width and height after a recipe.

    Colours, scale, angle, place and light vary with the generator, and one figure in each picture
    follows no recipe, so that classes overlap as they do in photographs.
    """
    picture = _draw_ground(recipe, size, rng)
    _draw_figure(picture, _invent_colour(rng), _invent_outline(rng), rng)
    for _ in range(max(1, recipe.figures + int(rng.integers(-1, 2)))):
        _draw_figure(picture, _vary(recipe.figure, rng), recipe.outline, rng)
    return _shade(picture, rng)


def _draw_ground(recipe: Recipe, size: Size, rng: np.random.Generator) -> Image.Image:
    width, height = (side // _COARSENESS for side in size)
    scale = recipe.waves * rng.uniform(0.8, 1.25) / min(width, height)
    angle = recipe.angle + rng.uniform(-0.25, 0.25)
    across = np.arange(width, dtype=np.float32) * np.float32(scale)
    down = np.arange(height, dtype=np.float32)[:, None] * np.float32(scale)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    shift_x, shift_y = rng.random(2, dtype=np.float32)
    along = across * cosine + down * sine + shift_x
    aside = down * cosine - across * sine + shift_y
    amount = _TEXTURES[recipe.texture](along, aside)[..., None]
    first, second = (np.array(_rgb(_vary(colour, rng)), np.float32) for colour in recipe.ground)
    pixels = first + (second - first) * amount
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def _draw_figure(
    picture: Image.Image, colour: Colour, outline: tuple[Point, ...], rng: np.random.Generator
) -> None:
    width, height = picture.size
    radius = min(picture.size) * rng.uniform(0.10, 0.24)
    angle = rng.uniform(0, 2 * math.pi)
    x, y = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.15, 0.85)
    cosine, sine = radius * math.cos(angle), radius * math.sin(angle)
    corners = [(x + u * cosine - v * sine, y + u * sine + v * cosine) for u, v in outline]
    hue, saturation, value = colour
    rim = (round(channel) for channel in _rgb((hue, saturation, value * 0.5)))
    fill = (round(channel) for channel in _rgb(colour))
    ImageDraw.Draw(picture).polygon(corners, fill=tuple(fill), outline=tuple(rim), width=3)


def _shade(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lay soft light and grain over a picture."""
    light = rng.integers(80, 190, (3, 3), dtype=np.uint8)
    lamp = Image.fromarray(light).resize(picture.size, Image.Resampling.BICUBIC)
    factor = np.asarray(lamp, dtype=np.uint16)[..., None]
    grain = rng.integers(0, 14, (*factor.shape[:2], 1), dtype=np.uint8)
    lit = (np.asarray(picture) * factor) >> 7
    return Image.fromarray(np.minimum(lit + grain, 255).astype(np.uint8))


def _invent_colour(rng: np.random.Generator) -> Colour:
    return (rng.uniform(0, 1), rng.uniform(0.35, 0.95), rng.uniform(0.35, 0.95))


def _vary(colour: Colour, rng: np.random.Generator) -> Colour:
    hue, saturation, value = colour
    return (
        (hue + rng.uniform(-0.05, 0.05)) % 1,
        min(1.0, saturation * rng.uniform(0.75, 1.2)),
        min(1.0, value * rng.uniform(0.75, 1.2)),
    )


def _rgb(colour: Colour) -> tuple[float, ...]:
    return tuple(255 * channel for channel in colorsys.hsv_to_rgb(*colour))


def _invent_outline(rng: np.random.Generator) -> tuple[Point, ...]:
    """Return the corners of a star-shaped polygon within the unit circle."""
    tips = int(rng.integers(2, 8))
    waist = rng.uniform(0.3, 1.0)
    stretch = rng.uniform(0.5, 1.0)
    corners = []
    for corner in range(2 * tips):
        turn = math.pi * corner / tips
        reach = waist if corner % 2 else 1.0
        corners.append((reach * math.cos(turn), stretch * reach * math.sin(turn)))
    return tuple(corners)


def _pick(rng: np.random.Generator, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _wave(turns: Field) -> Field:
    """Return a triangle wave between 0 and 1; a sine's last bit differs between CPUs."""
    wave: Field = np.abs(turns - np.floor(turns) - np.float32(0.5)) * 2
    return wave


def _edge(wave: Field) -> Field:
    """Sharpen the flanks of a wave."""
    edges: Field = np.clip(wave * 4 - np.float32(1.5), 0, 1)
    return edges


def _stripes(along: Field, _: Field) -> Field:
    return _edge(_wave(along))


def _checks(along: Field, aside: Field) -> Field:
    first, second = _edge(_wave(along)), _edge(_wave(aside))
    return first + second - 2 * first * second


def _dots(along: Field, aside: Field) -> Field:
    return _edge(_wave(along) * _wave(aside) * np.float32(1.5))


def _ripples(along: Field, aside: Field) -> Field:
    return _wave(along + _wave(aside / 2))


def _rings(along: Field, aside: Field) -> Field:
    return _wave(np.sqrt(along * along + aside * aside))


def _slope(along: Field, _: Field) -> Field:
    return _wave(along / 8)


_TEXTURES: dict[str, Callable[[Field, Field], Field]] = {
    "checks": _checks,
    "dots": _dots,
    "ripples": _ripples,
    "rings": _rings,
    "slope": _slope,
    "stripes": _stripes,
}
