# A cluster on bare metal of Equinix, which was Packet before. The service ended on 30 June 2026: README.md says what to use instead.

locals {
  provider   = "equinix"
  label      = "koalesce-${var.name}-${var.run_id}-${local.marks.koalesce-expires}"
  public_key = trimspace(try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), ""))

  # There is no firewall in front of these machines: each drops by itself what comes from others than may reach it.
  boot = { filter = true }

  machines = {
    machines = [for node in var.nodes : {
      host    = equinix_metal_device.node[node.name].access_public_ipv4
      user    = "root"
      key     = "${local.state_dir}/ssh/id_ed25519"
      address = equinix_metal_device.node[node.name].access_private_ipv4
    }]
    known_hosts = "${local.state_dir}/ssh/known_hosts"
    fresh       = true # made for this cluster: they are waited for, and have the keys that they show first
    public      = true # the API server and etcd are reached by `host`
    overlay     = true # pods of different machines reach each other by a tunnel
  }
}

# The token is that of the environment: METAL_AUTH_TOKEN.
provider "equinix" {}

resource "equinix_metal_project_ssh_key" "run" {
  name       = local.label
  public_key = local.public_key
  project_id = var.settings.project
}

resource "equinix_metal_device" "node" {
  for_each = { for node in var.nodes : node.name => node }

  billing_cycle       = "hourly"
  project_id          = var.settings.project
  metro               = var.settings.metro
  plan                = var.settings.plan
  operating_system    = var.settings.operating_system
  hostname            = "${var.name}-${each.key}"
  project_ssh_key_ids = [equinix_metal_project_ssh_key.run.id]
  user_data           = try(file("${terraform_data.key.output.folder}/user-data"), "")
  tags                = [for name, value in local.marks : "${name}:${value}"]

  # The service ends a device by itself then.
  termination_time = replace(local.marks.koalesce-expires, "/^(....)(..)(..)T(..)(..)(..)Z$/", "$1-$2-$${3}T$4:$5:$${6}Z")

  lifecycle {
    ignore_changes = [user_data] # what a device has been told at its first boot; the file is gone on other machines

    precondition {
      condition     = var.settings.project != ""
      error_message = "settings.project is empty: say in which project devices are made, by its id."
    }

    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}
