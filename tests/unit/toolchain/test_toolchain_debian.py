"""Debian packages: fetched on a private state, unpacked, made to work; apt itself is played by scripts."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from koalesce.errors import Interrupted
from koalesce.toolchain.debian import Debian, PackagesUnavailable, archive_names, configuration
from koalesce.toolchain.roottree import add_root_links, finish
from koalesce.toolchain.shelf import FullDisk

DUMP = """\
APT "";
APT::Architecture "amd64";
APT::Update::Post-Invoke "";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
Acquire::http::Proxy "http://proxy.example.com:3128";
Acquire::IndexTargets::deb::DEP-11::MetaKey "dep11";
DPkg::Post-Invoke:: "rm -f /var/cache/apt/archives/*.deb";
Dir::State::lists "lists/";
"""
# Writes down how it was called; `--print-uris` lists what is in $WORLD, a download puts it where the configuration says.
APT_GET = """\
#!/bin/sh
echo "$@" >> "$WORLD/calls"
[ -e "$WORLD/fails" ] && { cat "$WORLD/fails" >&2; exit 100; }
case "$*" in
*update*) cat "$WORLD/warnings" >&2 2>/dev/null ;;
*print-uris*) cat "$WORLD/uris" ;;
*) grep -q image-status "$APT_CONFIG" && cp "$APT_CONFIG" "$WORLD/image.conf"
   archives=$(sed -n 's/^Dir::Cache::archives "\\(.*\\)";$/\\1/p' "$APT_CONFIG")
   cp "$WORLD"/*.deb "$archives" 2>/dev/null ;;
esac
exit 0
"""
# A package of these tests is a shell script that fills the folder.
DPKG_DEB = '#!/bin/sh\ncd "$3" && . "$2"\n'


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an apt of ours, and one package to fetch."""
    world = tmp_path / "world"
    world.mkdir()
    commands = {"apt-get": APT_GET, "dpkg-deb": DPKG_DEB, "apt-config": f"#!/bin/sh\ncat <<'X'\n{DUMP}X\n"}
    for name, text in commands.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("WORLD", str(world))
    (world / "tool_1.0_amd64.deb").write_text("mkdir -p bin usr/share/doc && touch bin/tool usr/share/doc/copyright\n")
    (world / "uris").write_text("'http://deb.example.com/tool_1.0_amd64.deb' tool_1.0_amd64.deb 10 SHA256:00\n")
    return world


def test_unpacks_packages(world: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()

    archives = Debian(tmp_path / "apt").unpack(["tool"], into, on_host=True)

    assert archives == ["tool_1.0_amd64.deb"]
    assert sorted(path.relative_to(into).as_posix() for path in into.rglob("*")) == [
        "usr",
        "usr/bin",
        "usr/bin/tool",
        "usr/share",
    ]


def test_an_images_packages_start_from_nothing(world: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()

    Debian(tmp_path / "apt").unpack(["tool"], into, on_host=False)

    text = (world / "image.conf").read_text()
    assert f'Dir::State::status "{tmp_path}/apt/image-status";' in text
    assert (tmp_path / "apt" / "image-status").read_bytes() == b""
    assert "usrmerge" in (tmp_path / "apt" / "image.preferences").read_text()


def test_lists_are_fetched_once_while_they_are_fresh(world: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Debian(tmp_path / "apt").unpack(["tool"], tmp_path / name, on_host=True)

    calls = (world / "calls").read_text().splitlines()
    assert calls.count("update") == 1
    assert sum("--print-uris" in call for call in calls) == 2


def test_stale_lists_are_fetched_again_before_giving_up(world: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Debian(tmp_path / "apt").unpack(["tool"], tmp_path / "one", on_host=True)
    (world / "tool_1.0_amd64.deb").unlink()
    shutil.rmtree(tmp_path / "apt" / "archives")

    with pytest.raises(PackagesUnavailable, match=r"fetching Debian packages failed: tool_1\.0_amd64\.deb"):
        Debian(tmp_path / "apt").unpack(["tool"], tmp_path / "one", on_host=True)

    assert (world / "calls").read_text().splitlines().count("update") == 2


def test_what_apt_says_is_shown(world: Path, tmp_path: Path) -> None:
    (world / "fails").write_text("E: Could not resolve 'deb.example.com'\n")

    with pytest.raises(
        PackagesUnavailable, match=r"(?s)fetching the lists of Debian packages failed.*deb\.example\.com"
    ):
        Debian(tmp_path / "apt").unpack(["tool"], tmp_path, on_host=True)


def test_what_updating_complained_of_is_shown_where_packages_are_missing(world: Path, tmp_path: Path) -> None:
    (world / "warnings").write_text("W: Failed to fetch http://deb.example.com/x  Could not connect\n")
    (world / "uris").write_text("")

    with pytest.raises(PackagesUnavailable, match=r"(?s)fetching Debian packages failed: tool.*W: Failed to fetch"):
        Debian(tmp_path / "apt").unpack(["tool"], tmp_path, on_host=True)


def test_a_full_disk_is_said(world: Path, tmp_path: Path) -> None:
    (world / "fails").write_text("E: write - write (28: No space left on device)\n")

    with pytest.raises(FullDisk):
        Debian(tmp_path / "apt").unpack(["tool"], tmp_path, on_host=True)


def test_without_apt_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(PackagesUnavailable, match="apt-get and dpkg-deb are needed to fetch iptables, runc"):
        Debian(tmp_path / "apt").unpack(["iptables", "runc"], tmp_path, on_host=True)


def test_can_be_cancelled(world: Path, tmp_path: Path) -> None:
    cancel = threading.Event()
    debian = Debian(tmp_path / "apt", cancel=cancel, progress=lambda _: cancel.set())

    with pytest.raises(Interrupted):
        debian.unpack(["tool"], tmp_path, on_host=True)


def test_the_hosts_hooks_and_folders_are_not_taken_over() -> None:
    text = configuration(DUMP, Path("/cache"), on_host=True)

    assert 'Acquire::http::Proxy "http://proxy.example.com:3128";' in text
    assert 'APT::Architecture "amd64";' in text
    assert "Invoke" not in text
    assert "DEP-11" not in text
    assert 'Dir::State::lists "/cache/lists/";' in text
    assert 'Dir::State::status "/cache/host-status";' in text


def test_reads_what_apt_would_fetch() -> None:
    lines = [
        "Reading package lists...",
        "'http://debian.example.com/x/runc_1.1.5+ds1-1_amd64.deb' runc_1.1.5+ds1-1_amd64.deb 2709960 MD5Sum:0",
        "'http://debian.example.com/x/conntrack.deb' conntrack_1%3a1.4.7-1_amd64.deb 35240 ",
    ]

    assert archive_names(lines) == ["runc_1.1.5+ds1-1_amd64.deb", "conntrack_1%3a1.4.7-1_amd64.deb"]


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_tree_is_merged_into_usr(tmp_path: Path) -> None:
    root = files(
        tmp_path, "bin/ip", "sbin/tc", "lib/x/a.so", "usr/lib/x/b.so", "usr/bin/kept", "bin/kept", "lib64/ld.so"
    )
    (root / "sbin/modprobe").symlink_to("/bin/kmod")

    finish(root)
    add_root_links(root)

    assert {name: str((root / name).readlink()) for name in ("bin", "sbin", "lib", "lib64")} == {
        "bin": "usr/bin",
        "sbin": "usr/sbin",
        "lib": "usr/lib",
        "lib64": "usr/lib64",
    }
    assert (root / "lib/x/a.so").read_text() == "lib/x/a.so"
    assert (root / "lib/x/b.so").read_text() == "usr/lib/x/b.so"
    assert (root / "bin/kept").read_text() == "usr/bin/kept"
    assert str((root / "usr/sbin/modprobe").readlink()) == "/bin/kmod"


def test_alternatives_are_linked_to_the_nft_variants(tmp_path: Path) -> None:
    names = [
        f"usr/sbin/{name}" for name in ("xtables-nft-multi", "iptables-nft", "iptables-nft-save", "iptables-legacy")
    ]
    files(tmp_path, *names, "usr/bin/nc.openbsd", "usr/sbin/ebtables-legacy", "usr/bin/mawk")

    finish(tmp_path)

    links = {path.name: str(path.readlink()) for path in (tmp_path / "usr").rglob("*") if path.is_symlink()}
    assert links == {
        "iptables": "iptables-nft",
        "iptables-save": "iptables-nft-save",
        "ebtables": "ebtables-legacy",
        "nc": "nc.openbsd",
        "netcat": "nc.openbsd",
        "awk": "mawk",
    }


def test_what_a_package_brings_itself_is_no_alternative(tmp_path: Path) -> None:
    files(tmp_path, "usr/sbin/iptables", "usr/sbin/iptables-nft")

    finish(tmp_path)

    assert (tmp_path / "usr/sbin/iptables").read_text() == "usr/sbin/iptables"


def test_documentation_is_dropped(tmp_path: Path) -> None:
    finish(files(tmp_path, "usr/share/doc/x/copyright", "usr/share/man/man1/x.1.gz", "usr/share/x/data"))

    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "usr/share/x/data"
    ]
