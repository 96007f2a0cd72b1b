"""What machines are told at their first boot: one description, in four forms that say the same."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from koalesce.errors import UsageError
from koalesce.machines import layout
from koalesce.machines.boot import cloudinit, config, ignition, script, vagrant
from koalesce.machines.boot.config import NodeConfig
from koalesce.machines.survey import PROGRAMS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMqqC2YlR3rVhQ0m5cJQ0m8d5x9 somebody@example"
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----\n"


def told(**fields: Any) -> NodeConfig:
    return NodeConfig.model_validate(fields)


EVERYTHING = told(
    hostname="w1",
    users=[
        {"name": "root", "authorizedKeys": [KEY]},
        {"name": "admin", "authorizedKeys": [KEY], "sudo": True},
    ],
    files=[{"path": "/etc/motd", "text": 'it\'s "here": ${x} #{y}\n\\n\té\n', "mode": 0o600}],
    sysctls={"net.ipv4.ip_forward": "1"},
    modules=["overlay"],
    packages=["iptables"],
    units=[
        {"name": "a.service", "text": "[Service]\nExecStart=/bin/true\n"},
        {"name": "b.service", "text": "", "enabled": False},
    ],
)


def of_cloud_init(text: str) -> dict[str, Any]:
    first, body = text.split("\n", 1)
    assert first == "#cloud-config"  # without which cloud-init takes it for something else
    yaml = YAML(typ="safe")
    yaml.version = (1, 1)  # type: ignore[assignment]  # as cloud-init's own parser reads it
    found: dict[str, Any] = yaml.load(body)
    assert found == json.loads(body)
    return found


def test_cloud_init_gets_files_users_and_commands_in_the_order_of_their_needs() -> None:
    found = of_cloud_init(cloudinit.render(EVERYTHING))

    assert found == {
        "hostname": "w1",
        "preserve_hostname": False,
        "disable_root": False,
        "ssh_pwauth": False,
        "users": [
            {"name": "root", "lock_passwd": True, "ssh_authorized_keys": [KEY]},
            {"name": "admin", "lock_passwd": True, "ssh_authorized_keys": [KEY], "shell": "/bin/bash"},
        ],
        "package_update": True,
        "packages": ["iptables"],
        "write_files": [
            {"path": "/etc/motd", "content": EVERYTHING.files[0].text, "owner": "root:root", "permissions": "0600"},
            {
                "path": "/etc/sysctl.d/90-koalesce.conf",
                "content": "net.ipv4.ip_forward = 1\n",
                "owner": "root:root",
                "permissions": "0644",
            },
            {
                "path": "/etc/modules-load.d/koalesce.conf",
                "content": "overlay\n",
                "owner": "root:root",
                "permissions": "0644",
            },
            {
                "path": "/etc/sudoers.d/90-admin",
                "content": "admin ALL=(ALL) NOPASSWD: ALL\n",
                "owner": "root:root",
                "permissions": "0440",
            },
            {
                "path": "/etc/systemd/system/a.service",
                "content": "[Service]\nExecStart=/bin/true\n",
                "owner": "root:root",
                "permissions": "0644",
            },
            {"path": "/etc/systemd/system/b.service", "content": "", "owner": "root:root", "permissions": "0644"},
        ],
        "runcmd": [
            ["modprobe", "--all", "overlay"],
            ["sysctl", "--quiet", "--load=/etc/sysctl.d/90-koalesce.conf"],
            ["systemctl", "daemon-reload"],
            ["systemctl", "enable", "--now", "--no-block", "a.service"],
        ],
    }


def test_root_logs_in_only_where_it_has_keys() -> None:
    without = told(users=[{"name": "admin", "authorizedKeys": [KEY]}])

    assert of_cloud_init(cloudinit.render(without))["disable_root"] is True


def test_ignition_gets_the_same_files_users_and_units() -> None:
    found = json.loads(ignition.render(EVERYTHING))

    files = {each["path"]: each for each in found["storage"]["files"]}
    texts = {
        path: base64.b64decode(each["contents"]["source"].removeprefix("data:;base64,")) for path, each in files.items()
    }
    assert found["ignition"] == {"version": "3.4.0"}
    assert found["passwd"]["users"] == [
        {"name": "root", "sshAuthorizedKeys": [KEY]},
        {"name": "admin", "sshAuthorizedKeys": [KEY], "shell": "/bin/bash"},
    ]
    assert found["systemd"]["units"] == [
        {"name": "a.service", "enabled": True, "contents": "[Service]\nExecStart=/bin/true\n"},
        {"name": "b.service", "enabled": False, "contents": ""},
    ]
    assert texts == {
        "/etc/motd": EVERYTHING.files[0].text.encode(),
        "/etc/sysctl.d/90-koalesce.conf": b"net.ipv4.ip_forward = 1\n",
        "/etc/modules-load.d/koalesce.conf": b"overlay\n",
        "/etc/sudoers.d/90-admin": b"admin ALL=(ALL) NOPASSWD: ALL\n",
        "/etc/hostname": b"w1\n",
    }
    assert [files["/etc/motd"]["mode"], files["/etc/sudoers.d/90-admin"]["mode"]] == [0o600, 0o440]


def test_the_script_writes_the_same_files_whatever_is_in_them(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\n")
    (tmp_path / "bin/systemctl").chmod(0o755)
    text = script.render(told(files=[{"path": "/etc/motd", "text": EVERYTHING.files[0].text, "mode": 0o600}]))
    here = text.replace("/etc", f"{tmp_path}/etc")

    for _ in range(2):  # it may be run again
        subprocess.run(["sh"], input=here, text=True, check=True, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"})

    assert (tmp_path / "etc/motd").read_text() == EVERYTHING.files[0].text
    assert (tmp_path / "etc/motd").stat().st_mode & 0o777 == 0o600


def test_the_script_is_one_that_sh_can_read() -> None:
    subprocess.run(["sh", "-n"], input=script.render(EVERYTHING), text=True, check=True)


def test_a_vagrantfile_has_each_machine_with_its_script() -> None:
    text = vagrant.render({"192.168.56.10": EVERYTHING.opened_by([], hostname="cp"), "192.168.56.11": EVERYTHING})

    assert re.findall(r'config\.vm\.define "(\S+)"', text) == ["cp", "w1"]
    assert re.findall(r'ip: "(\S+)"', text) == ["192.168.56.10", "192.168.56.11"]
    scripts = re.findall(r"<<'END_OF_FIRST_BOOT'\n(.*?)END_OF_FIRST_BOOT\n", text, re.DOTALL)
    assert scripts == [script.render(EVERYTHING.opened_by([], hostname="cp")), script.render(EVERYTHING)]


# As much of Vagrant's language as a Vagrantfile of ours may use: what is set or called is told, and anything else is an error.
_VAGRANT = """
require "json"

class Part
  PARTS = [:vm]
  SETTINGS = [:box=, :hostname=, :cpus=, :memory=]
  CALLS = [:synced_folder, :provider, :define, :network, :provision]

  def initialize(told, place) = (@told, @place = told, place)

  def method_missing(name, *words, **options, &block)
    return Part.new(@told, @place) if PARTS.include?(name) && words.empty?
    raise "#{name} isn't of Vagrant's language" unless (SETTINGS + CALLS).include?(name)
    @told << [@place, name, words, options]
    block&.call(Part.new(@told, [*@place, *words]))
  end

  def respond_to_missing?(*) = true
end

module Vagrant
  def self.configure(version)
    raise "version #{version}" unless version == "2"
    told = []
    yield Part.new(told, [])
    puts JSON.generate(told)
  end
end

eval($stdin.read, binding, "Vagrantfile")
"""


@pytest.mark.skipif(shutil.which("ruby") is None, reason="there is no ruby here")
def test_a_vagrantfile_tells_vagrant_of_each_machine(tmp_path: Path) -> None:
    """Ruby itself reads and runs it; a small part of Vagrant listens."""
    ours = config.load().opened_by([KEY], hostname="cp")
    tricky = EVERYTHING.opened_by([KEY], hostname="w1").model_copy(
        update={"files": (config.BootFile(path="/etc/motd", text="#{exit 1} \\n 'quoted' $0\n"),)}
    )
    (tmp_path / "vagrant.rb").write_text(_VAGRANT)

    done = subprocess.run(
        ["ruby", tmp_path / "vagrant.rb"], input=vagrant.render({"192.168.56.10": ours, "192.168.56.11": tricky}),
        text=True, check=False, capture_output=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [[], "box=", ["debian/bookworm64"], {}],
        [[], "synced_folder", [".", "/vagrant"], {"disabled": True}],
        *(
            told
            for name in ("libvirt", "virtualbox")
            for told in ([[], "provider", [name], {}], [[name], "cpus=", [2], {}], [[name], "memory=", [2048], {}])
        ),
        *(
            told
            for name, address, described in (("cp", "192.168.56.10", ours), ("w1", "192.168.56.11", tricky))
            for told in (
                [[], "define", [name], {}],
                [[name], "hostname=", [name], {}],
                [[name], "network", ["private_network"], {"ip": address}],
                [[name], "provision", ["shell"], {"inline": script.render(described)}],
            )
        ),
    ]


@pytest.mark.skipif(shutil.which("ignition-validate") is None, reason="there is no ignition-validate here")
@pytest.mark.parametrize("description", [EVERYTHING, config.load().opened_by([KEY])], ids=["everything", "ours"])
def test_ignition_itself_takes_it(description: NodeConfig, tmp_path: Path) -> None:
    (tmp_path / "config.ign").write_text(ignition.render(description))

    subprocess.run(["ignition-validate", tmp_path / "config.ign"], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="there is no cloud-init here")
@pytest.mark.parametrize("description", [EVERYTHING, config.load().opened_by([KEY])], ids=["everything", "ours"])
def test_cloud_init_itself_takes_it(description: NodeConfig, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text(cloudinit.render(description))

    subprocess.run(["cloud-init", "schema", "--config-file", tmp_path / "user-data"], check=True, capture_output=True)


def test_our_description_brings_what_the_survey_of_machines_asks_for() -> None:
    found = config.load()

    assert set(PROGRAMS.values()) - set(found.packages) == {"systemd"}  # which no machine gets by a package
    assert set(found.modules) <= set(layout.MODULES)
    assert [file.path for file in found.all_files if file.path.startswith((layout.RECORD + "/", layout.TOOLS))] == []


def test_a_machine_of_ours_is_opened_by_the_keys_that_are_named_and_by_no_other() -> None:
    found = config.load().opened_by([KEY], hostname="w1")

    assert (found.hostname, [(user.name, user.authorized_keys) for user in found.users]) == ("w1", [("root", (KEY,))])


def test_its_console_tells_the_keys_of_the_host(tmp_path: Path) -> None:
    (unit,) = config.load().units
    (command,) = re.findall(r"ExecStart=/bin/sh -c '(.*)'", unit.text)
    (tmp_path / "ssh_host_ed25519_key.pub").write_text(f"{KEY}\n")
    here = (
        command.replace("$$", "$").replace("/etc/ssh", str(tmp_path)).replace("/dev/console", str(tmp_path / "console"))
    )

    subprocess.run(["sh", "-c", here], check=True)

    kind, text, _ = KEY.split()
    assert (tmp_path / "console").read_text() == f"koalesce-host-key {kind} {text} end\n"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"files": [{"path": "/k", "text": PRIVATE}]}, r"files\[0\]\.text: .*it holds a secret"),
        (
            {"units": [{"name": "a.service", "text": "Environment=PASSWORD=x"}]},
            r"units\[0\]\.text: .*it holds a secret",
        ),
        (
            {"users": [{"name": "root", "authorizedKeys": [PRIVATE]}]},
            r"users\[0\]\.authorizedKeys\[0\]: is no public key",
        ),
        ({"users": [{"name": "a b"}]}, r"users\[0\]\.name: "),
        ({"files": [{"path": "etc/x", "text": ""}]}, r"files\[0\]\.path: "),
        ({"files": [{"path": "/x", "text": "", "mode": 0o1777}]}, r"files\[0\]\.mode: "),
        ({"units": [{"name": "a", "text": ""}]}, r"units\[0\]\.name: "),
        ({"modules": ["a b"]}, r"modules\[0\]: "),
        ({"package": ["a"]}, r'package: unknown setting; did you mean "packages"\?'),
    ],
)
def test_what_is_no_description_or_holds_a_secret_is_refused_with_its_place(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(json.dumps(fields))

    with pytest.raises(UsageError, match=f"{path}: {message}"):
        config.load(path)
