"""Names beside points, where they cover neither each other nor what is drawn."""

from collections.abc import Sequence
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

_DIRECTIONS = ((1, 0), (0.8, 0.8), (0.8, -0.8), (0, 1), (0, -1), (-0.8, 0.8), (-0.8, -0.8), (-1, 0))
_DISTANCES = (7, 11, 17, 25, 36, 50)
# Beyond this a line tells which point is meant.
_NEAR = 10
# Half a mark.
_MARGIN = 4.5
# x from, x to, y from, y to.
Area = tuple[float, float, float, float]


def place_labels(
    figure: Figure, points: Sequence[tuple[Axes, float, float, str]], obstacles: Sequence[tuple[Axes, Area]]
) -> None:
    """Writes a name beside each point where there is room for it.

    Limits and scales of all axes must be final, and a pixel a point.

    Args:
        figure: Whose axes these are.
        points: Axes, x, y and name, in the order in which they choose their place.
        obstacles: What not to cover.
    """
    figure.draw_without_rendering()
    inside = Bbox.union([axes.get_window_extent() for axes in figure.axes])
    drawn = [_box(axes, area).padded(_MARGIN) for axes, area in obstacles]
    written: list[Bbox] = []
    for axes, x, y, name in points:
        label = axes.annotate(name, (x, y), (0, 0), textcoords="offset points", va="bottom", in_layout=False, zorder=6)
        size = label.get_window_extent()
        at: Sequence[float] = axes.transData.transform((x, y)).tolist()
        free = [
            box
            for box in (_candidate(at, size, *step) for step in product(_DISTANCES, _DIRECTIONS))
            if not _covered(box.padded(1), written)
        ]
        if not free:
            label.remove()
            continue
        # The nearest of those that are in nobody's way.
        best = min(free, key=lambda box: 100 * _in_the_way(box.padded(1), drawn, inside) + _gap(at, box))
        written.append(best)
        label.set_position((best.x0 - at[0], best.y0 - at[1]))
        if _gap(at, best) > _NEAR:
            _lead(axes, (x, y), at, best)


def _lead(axes: Axes, point: tuple[float, float], at: Sequence[float], box: Bbox) -> None:
    """A line from a name to its point."""
    end = min(max(at[0], box.x0), box.x1), min(max(at[1], box.y0), box.y1)
    axes.annotate(
        "", point, (end[0] - at[0], end[1] - at[1]), textcoords="offset points", in_layout=False,
        arrowprops={"arrowstyle": "-", "linewidth": 0.7, "alpha": 0.5, "shrinkA": 1, "shrinkB": 4},
    )  # fmt: skip


def _box(axes: Axes, area: Area) -> Bbox:
    """An area in pixels, as far as its axes show it."""
    left, right, low, high = area
    box = Bbox(axes.transData.transform([(left, low), (right, high)]))
    return Bbox.intersection(box, axes.get_window_extent()) or Bbox.null()


def _candidate(at: Sequence[float], size: Bbox, distance: float, direction: tuple[float, float]) -> Bbox:
    """Where a text of some size goes, at a distance in a direction from a point."""
    x, y = at[0] + distance * direction[0], at[1] + distance * direction[1]
    left = x - size.width * (0 if direction[0] > 0 else 1 if direction[0] < 0 else 0.5)
    low = y - size.height * (0 if direction[1] > 0 else 1 if direction[1] < 0 else 0.5)
    return Bbox.from_bounds(left, low, size.width, size.height)


def _gap(at: Sequence[float], box: Bbox) -> float:
    """Distance of a point from a box, in pixels."""
    across = max(box.x0 - at[0], at[0] - box.x1, 0)
    along = max(box.y0 - at[1], at[1] - box.y1, 0)
    return (across**2 + along**2) ** 0.5


def _covered(box: Bbox, others: Sequence[Bbox]) -> float:
    """How much of a box others cover, in pixels²."""
    shared = [Bbox.intersection(box, other) for other in others]
    return sum(area.width * area.height for area in shared if area is not None)


def _in_the_way(box: Bbox, drawn: Sequence[Bbox], inside: Bbox) -> float:
    """How much of a box covers what is drawn or lies outside, in box areas; any at all costs at least one."""
    area = box.width * box.height
    wrong = _covered(box, drawn) + 5 * (area - _covered(box, [inside]))
    return 1 + wrong / area if wrong > 1 else 0
