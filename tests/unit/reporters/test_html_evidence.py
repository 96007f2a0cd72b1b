from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.reporters.html.evidence import Evidence
from tests.unit.reporters.pages import Page


def shown(evidence: Evidence, folder: Path | str) -> Page:
    return Page(str(evidence.show(str(folder))))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run" / "evidence"
    files = {
        "README.md": "# a test\n",
        "nodes/worker-1/kubelet.log": "kubelet says\n",
        "namespaces/kube-system/pods.txt": "coredns\n",
        "namespaces/mine/events.txt": "Scheduled <b>pod</b>\nStarted\n",
        "namespaces/mine/logs/web.log": "one\ntwo\nthree",
    }
    for name, text in files.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


def test_the_tests_own_events_come_first_and_are_unfolded(folder: Path) -> None:
    found = shown(Evidence(), folder)

    order = [found.text.index(word) for word in ("Scheduled <b>pod</b>", "three", "coredns", "kubelet says")]
    assert order == sorted(order)
    assert [attrs for attrs in found.all("details") if "open" in attrs] == [{"open": "", "class": "file"}]


def test_a_long_file_shows_its_head_and_its_tail(folder: Path) -> None:
    (folder / "namespaces/mine/logs/web.log").write_text("begin\n" + "x" * 500_000 + "\nend")

    found = shown(Evidence(), folder)

    assert "begin" in found.text
    assert "end" in found.text
    assert "characters left out" in found.text
    assert len(found.text) < 60_000


def test_what_is_too_much_is_counted(folder: Path) -> None:
    for number in range(50):
        (folder / f"namespaces/mine/logs/pod-{number}.log").write_text("y" * 20_000)

    found = shown(Evidence(), folder)

    assert len(found.text) < 400_000
    assert "more files are in the folder." in found.text


def test_links_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden treasure")
    (folder / "link.txt").symlink_to(tmp_path / "secret")

    assert "hidden treasure" not in shown(Evidence(), folder).text


def test_an_event_file_names_no_folders_elsewhere(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    for name in (str(folder), "../run/evidence", "\x00"):
        assert "The folder isn't here" in shown(Evidence([elsewhere]), name).text
    assert "Scheduled" in shown(Evidence([tmp_path]), "run/evidence").text


def test_a_folder_that_is_none_of_evidence_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "id_rsa").write_text("private")

    assert "private" not in shown(Evidence(), tmp_path).text


def test_no_folder_is_nothing() -> None:
    assert Evidence().show("") == ""
