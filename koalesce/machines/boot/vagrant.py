"""A Vagrantfile whose machines boot as described, and become nodes by the provider ssh."""

from __future__ import annotations

from collections.abc import Mapping

from koalesce.machines.boot import script
from koalesce.machines.boot.config import NodeConfig

_BOX = "debian/bookworm64"
_END = "END_OF_FIRST_BOOT"


def render(configs: Mapping[str, NodeConfig], *, box: str = _BOX, processors: int = 2, mebibytes: int = 2048) -> str:
    """The Vagrantfile of machines that have these addresses, each in a network of this machine."""
    machines = "\n".join(_machine(address, config) for address, config in configs.items())
    return f"""\
# -*- mode: ruby -*-
# Written by `koalesce node-config --format vagrant`. `vagrant up`, then list the machines for the provider ssh: docs/how-to/vms.md.
Vagrant.configure("2") do |config|
  config.vm.box = "{box}"
  config.vm.synced_folder ".", "/vagrant", disabled: true
  ["libvirt", "virtualbox"].each do |name|
    config.vm.provider name do |machine|
      machine.cpus = {processors}
      machine.memory = {mebibytes}
    end
  end
{machines}end
"""


def _machine(address: str, config: NodeConfig) -> str:
    # A heredoc whose end is quoted is taken as it is: nothing in it means anything to Ruby.
    return f"""
  config.vm.define "{config.hostname}" do |node|
    node.vm.hostname = "{config.hostname}"
    node.vm.network "private_network", ip: "{address}"
    node.vm.provision "shell", inline: <<'{_END}'
{script.render(config)}{_END}
  end
"""
