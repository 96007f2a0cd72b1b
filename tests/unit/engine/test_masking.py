"""Secrets never leave."""

from koalesce.engine.masking import Masks
from koalesce.events import PhaseProgress


def test_masks_a_secret_in_every_form() -> None:
    masks = Masks()
    masks.add(["s3cret/token"])

    assert masks.text("raw s3cret/token b64 czNjcmV0L3Rva2Vu url s3cret%2Ftoken") == "raw *** b64 *** url ***"


def test_masks_each_line_of_a_key() -> None:
    masks = Masks()
    masks.add(["-----BEGIN-----\nabcdefgh\n"])

    assert masks.text("found abcdefgh here") == "found *** here"


def test_learns_from_secret_objects() -> None:
    masks = Masks()
    masks.learn_from({"kind": "Secret", "data": {"password": "aHVudGVyMjI="}, "stringData": {"user": "administrator"}})

    assert masks.text("hunter22 of administrator") == "*** of ***"


def test_leaves_short_words_alone() -> None:
    masks = Masks()
    masks.add(["ok"])

    assert masks.text("all ok") == "all ok"


def test_masks_events() -> None:
    masks = Masks()
    masks.add(["hunter22"])

    assert masks.event(PhaseProgress(spec="s", phase="p", message="got hunter22")).message == "got ***"
