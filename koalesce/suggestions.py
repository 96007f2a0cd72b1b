"""The word that was meant by one that is unknown."""

from __future__ import annotations

from collections.abc import Collection


def closest(word: str, known: Collection[str]) -> str | None:
    """The known word that a typo, another case or another separator makes of this one; None if none is near."""
    folded = {_fold(name): name for name in sorted(known, reverse=True)}
    plain = _fold(word)
    near = {name: _distance(plain, name) for name in folded}
    best = min(near, key=lambda name: near[name], default=None)
    if best is not None and near[best] <= max(1, len(plain) // 3) and near[best] < len(best):
        return folded[best]
    import difflib  # imported here: only mistakes need it

    similar = difflib.get_close_matches(plain, list(folded), n=1, cutoff=0.6)
    return folded[similar[0]] if similar else None


def _fold(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _distance(one: str, other: str) -> int:
    """Letters to insert, remove, replace or swap with their neighbour (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, right in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
