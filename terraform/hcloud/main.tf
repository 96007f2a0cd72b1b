# A cluster on servers of Hetzner Cloud: they are made here, and cluster.tf makes nodes of them.

locals {
  provider = "hcloud"
  zones    = { ash = "us-east", hil = "us-west", sin = "ap-southeast" } # all others: eu-central

  nodes = { for index, node in var.nodes : node.name => cidrhost(var.settings.node_cidr, index + 10) }

  boot = {} # machines are told nothing besides what all are

  machines = {
    machines = [for node in var.nodes : {
      host    = hcloud_server.node[node.name].ipv4_address
      user    = "root"
      key     = "${local.state_dir}/ssh/id_ed25519"
      address = local.nodes[node.name]
    }]
    known_hosts = "${local.state_dir}/ssh/known_hosts"
    fresh       = true # made for this cluster: they are waited for, and have the keys that they show first
    public      = true # the API server and etcd are reached by `host`
    overlay     = true # pods of different machines reach each other by a tunnel
  }
}

# The token is that of the environment: HCLOUD_TOKEN.
provider "hcloud" {}

resource "hcloud_ssh_key" "run" {
  name       = "${var.name}-${var.run_id}"
  public_key = try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), "")
  labels     = local.marks
}

# Filters what comes from outside; nodes reach each other by the private network, which it doesn't concern.
resource "hcloud_firewall" "run" {
  name   = "${var.name}-${var.run_id}"
  labels = local.marks

  dynamic "rule" {
    for_each = { ssh = "22", api = "6443", etcd = "2379" }

    content {
      description = rule.key
      direction   = "in"
      protocol    = "tcp"
      port        = rule.value
      source_ips  = var.settings.allowed_cidrs
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}

resource "hcloud_network" "run" {
  name     = "${var.name}-${var.run_id}"
  ip_range = var.settings.node_cidr
  labels   = local.marks
}

resource "hcloud_network_subnet" "run" {
  network_id   = hcloud_network.run.id
  type         = "cloud"
  network_zone = lookup(local.zones, var.settings.location, "eu-central")
  ip_range     = var.settings.node_cidr
}

resource "hcloud_server" "node" {
  for_each = local.nodes

  name         = "${var.name}-${each.key}"
  server_type  = var.settings.server_type
  image        = var.settings.image
  location     = var.settings.location
  ssh_keys     = [hcloud_ssh_key.run.id]
  firewall_ids = [hcloud_firewall.run.id]
  user_data    = try(file("${terraform_data.key.output.folder}/user-data"), "")
  labels       = local.marks

  public_net {
    ipv4_enabled = true
    ipv6_enabled = false
  }

  network {
    subnet_id = hcloud_network_subnet.run.id
    ip        = each.value
    alias_ips = []
  }

  lifecycle {
    ignore_changes = [ssh_keys, user_data] # what a server has been told at its first boot; the files are gone on other machines
  }
}
