"""Cutting out and shrinking decoded frames in the decoder's own planes, before they become RGB.

FFmpeg's `crop` and `scale=flags=area` average exact areas (`bitexact`: alike on every CPU), and only the few pixels that remain are
converted, with colour at full resolution (`full_chroma_int`). It is both faster than converting all of a frame first and nearer to the
average in exact arithmetic: docs/preparing.md has figures. Not the same: where colours lie outside of RGB they are averaged before they
are clipped, not after.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from growreel.video.media import Colors, Frame

if TYPE_CHECKING:
    import av
    from av.filter import Graph

NEAR_ENOUGH = 0.25  # target pixels by which an edge may move to the grid of the colour planes
CACHED_GRAPHS = 64  # one for each tile of a grid


class Window(NamedTuple):
    """A part of a frame in whole pixels, on the grid of its colour planes."""

    top: int
    left: int
    height: int
    width: int


def window_near(frame: av.VideoFrame, box: tuple[float, float, float, float], height: int, width: int) -> Window | None:
    """The window in place of the part `box` (top, left, bottom, right) of a frame, which is to be shrunk to height x width.

    None where this is not exact enough: the part is not shrunk on both axes, the grid has no line near an edge, or FFmpeg would not
    average the pixels as they are (RGB, palettes, transparency).
    """
    layout = frame.format
    planes = layout.is_planar or layout.name in ("gray", "nv12", "nv21")
    if layout.is_rgb or layout.has_palette or not planes or any(plane.is_alpha for plane in layout.components):
        return None
    top, left, bottom, right = box
    if bottom - top < height or right - left < width or (bottom - top, right - left) == (height, width):
        return None
    step_y, step_x = -(-frame.height // layout.chroma_height(frame.height)), -(-frame.width // layout.chroma_width(frame.width))
    edges = [_near(edge, step, end) for edge, step, end in zip(box, (step_y, step_x) * 2, (frame.height, frame.width) * 2, strict=True)]
    moved_y, moved_x = max(abs(edges[0] - top), abs(edges[2] - bottom)), max(abs(edges[1] - left), abs(edges[3] - right))
    if moved_y * height > NEAR_ENOUGH * (bottom - top) or moved_x * width > NEAR_ENOUGH * (right - left):
        return None
    window = Window(edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1])
    return window if window.height >= height and window.width >= width else None


def _near(edge: float, step: int, end: int) -> int:
    """The line of a grid that is nearest to an edge; the end of the frame is one too."""
    line = round(edge / step) * step
    return end if abs(end - edge) <= abs(line - edge) or line > end else line


class Shrinker:
    """Shrinks parts of the frames of one stream; what can be settled once for each kind of frame and part is remembered."""

    def __init__(self, colors: Colors) -> None:
        self.colors = colors
        self._graphs: OrderedDict[tuple[object, ...], Graph | None] = OrderedDict()

    def shrink(self, frame: av.VideoFrame, box: tuple[float, float, float, float], height: int, width: int) -> Frame | None:
        """The part as uint8 [height, width, colors], in the frame's own orientation; None where `window_near` says so."""
        key = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, box, height, width)
        if key not in self._graphs:
            if len(self._graphs) >= CACHED_GRAPHS:
                self._graphs.popitem(last=False)
            window = window_near(frame, box, height, width)
            pixel_format = "gray" if self.colors == 1 else "rgb24"
            self._graphs[key] = None if window is None else _graph(frame, window, height, width, pixel_format)
        graph = self._graphs[key]
        if graph is None:
            return None
        graph.push(frame)
        pixels = cast("av.VideoFrame", graph.pull()).to_ndarray().astype(np.uint8, copy=False)
        return pixels.reshape(height, width, self.colors)


def _graph(frame: av.VideoFrame, window: Window, height: int, width: int, pixel_format: str) -> Graph:
    from av.filter import Graph

    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{frame.width}x{frame.height}",
        pix_fmt=frame.format.name,
        time_base=str(frame.time_base or "1/1000"),
        pixel_aspect="1/1",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    steps = [source]
    if window != (0, 0, frame.height, frame.width):
        steps.append(graph.add("crop", f"{window.width}:{window.height}:{window.left}:{window.top}:exact=1"))
    steps.append(graph.add("scale", f"{width}:{height}:flags=area+full_chroma_int+accurate_rnd+bitexact"))
    steps += [graph.add("format", pixel_format), graph.add("buffersink")]
    graph.link_nodes(*steps).configure()
    return graph
