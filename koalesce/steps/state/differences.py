"""What differs between two looks at a kind of state: what has come, what has gone, what has changed, what stands in another order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from koalesce.local.iptables import is_looked_after
from koalesce.matching.changes import changes
from koalesce.steps.objects.reading import shortened
from koalesce.steps.state.lasting import Lasting
from koalesce.steps.state.view import Item

_WIDTH = 240


def differences(lasting: Lasting, before: Sequence[Item], now: Sequence[Item]) -> list[str]:
    """A line for each difference; `before` and `now` hold only what counts."""
    before, now = _of_common_links(lasting, before, now)
    gone, come = _left(before, now), _left(now, before)
    lines: list[str] = []
    for old in list(gone):
        if (new := _successor(lasting, old, gone, come)) is not None:
            gone.remove(old)
            come.remove(new)
            lines.append(f"{lasting.view.noun} {_named(lasting, old)} has changed: {_changes(old, new)}")
    lines += [f"{lasting.view.noun} has gone: {_shown(item)}" for item in gone]
    lines += [f"{lasting.view.noun} has come: {_shown(item)}" for item in come]
    return [*lines, *_reordered(lasting, before, now)]


def _of_common_links(lasting: Lasting, *looks: Sequence[Item]) -> list[Sequence[Item]]:
    """Items without those of links that aren't there both times: they came or went with these."""
    if not lasting.of_link:
        return list(looks)
    before, now = ({item.get(lasting.of_link) for item in items} for items in looks)
    return [[item for item in items if item.get(lasting.of_link) not in before ^ now] for items in looks]


def _left(items: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """Those items that there are no equals of, as often as each is there."""
    missing = Counter(map(_text, items)) - Counter(map(_text, others))
    known = {_text(item): item for item in items}
    return [known[text] for text in missing.elements()]


def _text(item: Item) -> str:
    return json.dumps(item, sort_keys=True)


def _successor(lasting: Lasting, old: Item, gone: Sequence[Item], come: Sequence[Item]) -> Item | None:
    """What an item has become, if that can be told."""
    if not any(old.get(name) for name in lasting.identity if name not in ("family", "kind", "table")):
        return None  # such as a rule of nftables, which has no name
    mine = _identity(lasting, old)
    heirs = [item for item in come if _identity(lasting, item) == mine]
    rivals = [item for item in gone if _identity(lasting, item) == mine]
    return heirs[0] if len(heirs) == len(rivals) == 1 else None


def _identity(lasting: Lasting, item: Item) -> list[Any]:
    return [item.get(name) for name in lasting.identity]


def _named(lasting: Lasting, item: Item) -> str:
    return " ".join(str(item[name]) for name in lasting.identity if item.get(name) not in (None, ""))


def _changes(old: Item, new: Item) -> str:
    told = []
    for key in dict.fromkeys([*old, *new]):
        was, is_now = old.get(key), new.get(key)
        if was != is_now:
            told.append(
                _members(key, was, is_now) or ", ".join(str(each.under(f".{key}")) for each in changes(was, is_now))
            )
    return shortened("; ".join(told), _WIDTH)


def _members(key: str, was: Any, is_now: Any) -> str:
    """The change of a list of texts; empty if it's none."""
    if not all(isinstance(side, list) and all(isinstance(one, str) for one in side) for side in (was, is_now)):
        return ""
    signed = [*(f"-{one}" for one in was if one not in is_now), *(f"+{one}" for one in is_now if one not in was)]
    return f".{key}: {', '.join(signed) or 'in another order'}"


def _shown(item: Item) -> str:
    told = {key: value for key, value in item.items() if value not in (None, "", [], {})}
    return shortened(
        " ".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in told.items()),
        _WIDTH,
    )


def _reordered(lasting: Lasting, before: Sequence[Item], now: Sequence[Item]) -> Iterator[str]:
    """Sequences whose common items stand in another order. Who looks after chains writes them in whichever order Services and pods are found."""
    if not lasting.sequence:
        return
    both = Counter(map(_text, before)) & Counter(map(_text, now))
    was, is_now = _sequences(lasting, before, both), _sequences(lasting, now, both)
    for key, texts in was.items():
        if texts != is_now.get(key) and not is_looked_after(key[-1]):
            yield f"{lasting.view.noun}s of {' '.join(key)} stand in another order"


def _sequences(lasting: Lasting, items: Sequence[Item], both: Counter[str]) -> dict[tuple[str, ...], list[str]]:
    left, found = both.copy(), dict[tuple[str, ...], list[str]]()
    for item in items:
        text = _text(item)
        if left[text] > 0:
            left[text] -= 1
            found.setdefault(tuple(str(item.get(name, "")) for name in lasting.sequence), []).append(text)
    return found
