"""Where the nodes of a graph go: layers from top to bottom, few crossings, straight long edges.

Layers, dummy nodes on long edges and barycentre ordering follow Sugiyama, Tagawa and Toda (1981).
"""

from itertools import combinations, pairwise
from random import Random
from statistics import fmean
from typing import Any

import networkx as nx

WIDTH, HEIGHT, GAP, DROP = 140, 48, 14, 30  # of a node, between columns, between layers; in CSS pixels
SWEEPS, STARTS = 8, 20

Position = tuple[float, float]


def layout(edges: nx.DiGraph) -> tuple[dict[str, Position], list[list[Position]]]:
    """Top centre of every node of an acyclic graph, and the way points of every edge, in CSS pixels."""
    level = _levels(edges)
    chains = [_chain(maker, user, level) for maker, user in edges.edges]
    links = nx.DiGraph()
    links.add_nodes_from(edges)
    for chain in chains:
        nx.add_path(links, chain)
    depth = {node: level[node] if node in level else node[2] for node in links}
    rows = [[node for node in links if depth[node] == row] for row in range(max(depth.values()) + 1)]
    rows = _untangle(rows, links)
    x = _columns(rows, links)
    top = {node: (x[node], depth[node] * (HEIGHT + DROP)) for node in links}
    routes = [[top[node] for node in chain] for chain in chains]
    return {node: top[node] for node in edges}, routes


def _levels(edges: nx.DiGraph) -> dict[Any, int]:
    """The longest way from a source; then down towards the users where that makes the edges no longer in sum."""
    level: dict[Any, int] = {}
    for row, members in enumerate(nx.topological_generations(edges)):
        level |= dict.fromkeys(members, row)
    for node in reversed(list(nx.topological_sort(edges))):
        users = [level[user] for user in edges.successors(node)]
        if users and edges.in_degree(node) <= len(users):
            level[node] = min(users) - 1
    return level


def _chain(maker: str, user: str, level: dict[Any, int]) -> list[Any]:
    """The edge with a dummy node in every layer that it crosses."""
    return [maker, *((maker, user, row) for row in range(level[maker] + 1, level[user])), user]


def _untangle(rows: list[list], links: nx.DiGraph) -> list[list]:
    """The order within each layer that crosses the fewest edges, of several starts sorted by barycentre."""
    draw = Random(0)
    best, fewest = [list(row) for row in rows], _crossings(rows, links)
    for _ in range(STARTS):
        for sweep in range(SWEEPS):
            _order(rows, links, downward=sweep % 2 == 0)
            if (found := _crossings(rows, links)) < fewest:
                best, fewest = [list(row) for row in rows], found
        rows = [draw.sample(row, len(row)) for row in rows]
    return best


def _crossings(rows: list[list], links: nx.DiGraph) -> int:
    place = {node: index for row in rows for index, node in enumerate(row)}
    return sum(
        (place[a] - place[c]) * (place[b] - place[d]) < 0
        for row in rows
        for (a, b), (c, d) in combinations([(node, user) for node in row for user in links.successors(node)], 2)
    )


def _order(rows: list[list], links: nx.DiGraph, downward: bool) -> None:
    """Sort each layer by the mean place of its neighbours in the layer before."""
    steps = range(1, len(rows)) if downward else range(len(rows) - 2, -1, -1)
    for row in steps:
        before = rows[row - 1] if downward else rows[row + 1]
        place = {node: index / max(1, len(before) - 1) for index, node in enumerate(before)}
        near = {node: list((links.predecessors if downward else links.successors)(node)) for node in rows[row]}
        means = {node: fmean(place[other] for other in found) if found else 0.5 for node, found in near.items()}
        rows[row].sort(key=means.__getitem__)


def _columns(rows: list[list], links: nx.DiGraph) -> dict[Any, float]:
    """Centres that keep each layer's order and distances and stand near their neighbours; long edges pull the most."""
    x = {node: 0.0 for node in links}
    for sweep in range(20 * SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_pulled(node, x, links) for node in row]
            offsets = [0.0]
            for left, right in pairwise(row):
                offsets.append(offsets[-1] + (_breadth(left) + _breadth(right)) / 2 + GAP)
            free = _isotonic([(want - offset, weight) for (want, weight), offset in zip(wanted, offsets, strict=True)])
            x |= {node: value + offset for node, value, offset in zip(row, free, offsets, strict=True)}
    left = min(x[node] - _breadth(node) / 2 for node in x)
    return {node: value - left for node, value in x.items()}


def _pulled(node: Any, x: dict[Any, float], links: nx.DiGraph) -> tuple[float, float]:
    """The mean place of a node's neighbours and its weight, a dummy's being more so that long edges run straight."""
    near = list(nx.all_neighbors(links, node))
    weights = [1 + 4 * (isinstance(node, tuple) + isinstance(other, tuple)) for other in near]
    return (fmean([x[other] for other in near], weights), sum(weights)) if near else (x[node], 1e-3)


def _breadth(node: Any) -> float:
    return 6 if isinstance(node, tuple) else WIDTH


def _isotonic(values: list[tuple[float, float]]) -> list[float]:
    """The nearest non-decreasing values to (value, weight) pairs, by pooling adjacent violators."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in values:
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (left, a, n), (right, b, m) = blocks[-2:]
            blocks[-2:] = [((left * a + right * b) / (a + b), a + b, n + m)]
    return [mean for mean, _, count in blocks for _ in range(count)]
