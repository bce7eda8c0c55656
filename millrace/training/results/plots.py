"""Small SVG charts for the report: curves over epochs and scatter plots, as text, without any library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 38


@dataclass(frozen=True)
class Point:
    """One dot. `front` marks it as one of the best."""

    x: float
    y: float
    label: str = ""
    front: bool = False


@dataclass(frozen=True)
class Curve:
    """One line through points (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


def curves(lines: Sequence[Curve], x_label: str, y_label: str, bands: Sequence[tuple[float, float]] = ()) -> Markup:
    """Lines over x; `bands` are shaded stretches of x."""
    values = [point for line in lines for point in line.points]
    if not values:
        return Markup("")
    frame = _Frame([x for x, _ in values], [y for _, y in values], log_x=False)
    parts = []
    for low, high in bands:
        left, right = frame.x(max(low, frame.x_low)), frame.x(min(high, frame.x_high))
        if right > left:
            parts.append(
                f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}"/>'
            )
    for number, line in enumerate(lines):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline class="line l{number % 6}" points="{path}"><title>{escape(line.name)}</title></polyline>')
    return frame.wrap(parts, x_label, y_label)


def scatter(points: Sequence[Point], x_label: str, y_label: str, *, log_x: bool = False) -> Markup:
    """Dots; those on the front are filled and joined."""
    if not points:
        return Markup("")
    log_x = log_x and all(point.x > 0 for point in points)
    frame = _Frame([point.x for point in points], [point.y for point in points], log_x=log_x)
    front = sorted((point for point in points if point.front), key=lambda point: point.x)
    parts = []
    if len(front) > 1:
        path = " ".join(f"{frame.x(point.x):.1f},{frame.y(point.y):.1f}" for point in front)
        parts.append(f'<polyline class="front" points="{path}"/>')
    for point in points:
        kind = "dot best" if point.front else "dot"
        place = f'cx="{frame.x(point.x):.1f}" cy="{frame.y(point.y):.1f}"'
        parts.append(f'<circle class="{kind}" {place} r="4.5"><title>{escape(point.label)}</title></circle>')
    return frame.wrap(parts, x_label, y_label)


def pareto(points: Sequence[tuple[float, float]], *, higher_is_better: bool) -> list[bool]:
    """Which points (cost, quality) are on the Pareto front: no other is as good in both and better in one."""
    sign = 1.0 if higher_is_better else -1.0
    found = []
    for cost, quality in points:
        beaten = any(
            other <= cost and sign * value >= sign * quality and (other < cost or sign * value > sign * quality)
            for other, value in points
        )
        found.append(not beaten)
    return found


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round figures from `low` to `high`."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * magnitude for unit in (1, 2, 2.5, 5, 10) if unit * magnitude >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round((first + number) * step, 12) for number in range(count + 2) if (first + number) * step <= high + step * 1e-6]


class _Frame:
    """Scales and axes."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], *, log_x: bool) -> None:
        self.log = log_x
        self.x_low, self.x_high = _padded([math.log10(x) for x in xs] if log_x else xs)
        self.y_low, self.y_high = _padded(ys)

    def x(self, value: float) -> float:
        value = math.log10(value) if self.log else value
        return self._place(value)

    def _place(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)

    def wrap(self, parts: Sequence[str], x_label: str, y_label: str) -> Markup:
        axes = []
        for tick in ticks(self.x_low, self.x_high):
            shown = f"{10**tick:.3g}" if self.log else f"{tick:.4g}"
            axes.append(
                f'<text class="tick" x="{self._place(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{shown}</text>'
            )
        for tick in ticks(self.y_low, self.y_high):
            y = self.y(tick)
            axes.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            axes.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        axes.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
        axes.append(f'<text class="axis" x="{LEFT}" y="{TOP - 2}">{escape(y_label)}</text>')
        name = escape(f"{y_label} over {x_label}")
        body = "".join([*axes, *parts])
        return Markup(f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{body}</svg>')  # noqa: S704 - escaped above


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    return low - room, high + room
