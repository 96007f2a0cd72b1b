"""Downloads: checked, mirrored, never half."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from koalesce.toolchain.download import MIRROR, Downloader, DownloadFailed, find_checksum, unpack
from koalesce.toolchain.network import Network
from tests.unit.toolchain.web import Answer, Web

SUM = hashlib.sha256(b"content").hexdigest()


@pytest.fixture
def downloader(web: Web, monkeypatch: pytest.MonkeyPatch) -> Downloader:
    monkeypatch.setenv(MIRROR, f"http://{web.address}/mirror/")
    return Downloader(Network())


def test_fetches_from_the_mirror(web: Web, downloader: Downloader, tmp_path: Path) -> None:
    web.answers["/mirror/dl.k8s.io/release/kubelet"] = Answer(b"content")

    downloader.fetch("https://dl.k8s.io/release/kubelet", SUM, tmp_path / "kubelet")

    assert (tmp_path / "kubelet").read_bytes() == b"content"


@pytest.mark.parametrize(
    "answer", [Answer(b"other"), Answer(b"content", cut=3), Answer(status=404), Answer(status=302)]
)
def test_what_is_not_what_is_pinned_leaves_nothing(
    web: Web, downloader: Downloader, tmp_path: Path, answer: Answer
) -> None:
    web.answers["/mirror/example.com/file"] = answer

    with pytest.raises(DownloadFailed):
        downloader.fetch("https://example.com/file", SUM, tmp_path / "file")

    assert list(tmp_path.iterdir()) == []


def test_a_wrong_checksum_is_shown(web: Web, downloader: Downloader, tmp_path: Path) -> None:
    web.answers["/mirror/example.com/file"] = Answer(b"other")

    with pytest.raises(
        DownloadFailed, match=rf"example\.com/file doesn't have its pinned checksum \(sha256 {SUM}, got "
    ):
        downloader.fetch("https://example.com/file", SUM, tmp_path / "file")


def test_a_host_out_of_reach_is_asked_once(refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setenv(MIRROR, f"http://{refused}")
    downloader = Downloader(Network())

    with pytest.raises(DownloadFailed, match="Connection refused"):
        downloader.fetch("https://example.com/file", SUM, tmp_path / "file")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked again"))
    with pytest.raises(DownloadFailed, match="Connection refused"):
        downloader.fetch("https://example.com/file", SUM, tmp_path / "file")


def test_learns_a_checksum_from_the_publisher(web: Web, downloader: Downloader) -> None:
    web.answers["/mirror/example.com/file.sha256"] = Answer(f"{SUM}\n".encode())

    assert downloader.checksum("https://example.com/file", "https://example.com/file.sha256") == SUM


def test_a_file_of_checksums_without_ours_is_said(web: Web, downloader: Downloader) -> None:
    web.answers["/mirror/example.com/SUMS"] = Answer(f"{SUM}  other\n".encode())

    with pytest.raises(DownloadFailed, match=r"example\.com/SUMS has no SHA-256 of file"):
        downloader.checksum("https://example.com/file", "https://example.com/SUMS")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SUM, SUM),
        (f"{SUM}\n", SUM),
        (f"{'0' * 64}  other\n{SUM} *file\n", SUM),
        (f"{SUM}  ./release/file\n", SUM),
        (f"{SUM}  other\n", None),
        ("<html>not found</html>", None),
        ("", None),
    ],
)
def test_reads_files_of_checksums(text: str, found: str | None) -> None:
    assert find_checksum(text, "file") == found


def archive(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    return path


@pytest.mark.parametrize(("prefix", "folder"), [("etcd-v1/", "etcd-v1"), ("./", ""), ("", "")])
def test_takes_only_the_binaries_out_of_an_archive(tmp_path: Path, prefix: str, folder: str) -> None:
    path = archive(tmp_path / "a.tgz", [f"{prefix}README", f"{prefix}etcd", f"{prefix}../etcd", f"{prefix}etcdctl"])
    (tmp_path / "into").mkdir()

    unpack(path, folder, ["etcd"], tmp_path / "into")

    assert [(found.name, found.stat().st_mode & 0o777) for found in (tmp_path / "into").iterdir()] == [("etcd", 0o755)]


def test_an_archive_that_lacks_a_binary_is_said(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"a\.tgz lacks bin/ctr"):
        unpack(archive(tmp_path / "a.tgz", ["bin/containerd"]), "bin", ["containerd", "ctr"], tmp_path)


def test_a_broken_archive_is_said(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tgz", ["bin/containerd"])
    path.write_bytes(path.read_bytes()[:30])

    with pytest.raises(DownloadFailed, match=r"a\.tgz can't be unpacked"):
        unpack(path, "bin", ["containerd"], tmp_path)
