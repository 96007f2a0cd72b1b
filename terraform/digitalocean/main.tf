# A cluster on droplets of DigitalOcean: they are made here, and cluster.tf makes nodes of them.

locals {
  provider = "digitalocean"

  # One tag for all marks: others of the account never have the same one. Keys, networks and firewalls can't be tagged: their names say it.
  tag   = "koalesce:${var.name}:${var.run_id}:${local.marks.koalesce-expires}"
  label = "koalesce.${var.name}.${var.run_id}.${local.marks.koalesce-expires}"

  boot = {} # machines are told nothing besides what all are

  machines = {
    machines = [for node in var.nodes : {
      host    = digitalocean_droplet.node[node.name].ipv4_address
      user    = "root"
      key     = "${local.state_dir}/ssh/id_ed25519"
      address = digitalocean_droplet.node[node.name].ipv4_address_private
    }]
    known_hosts = "${local.state_dir}/ssh/known_hosts"
    fresh       = true # made for this cluster: they are waited for, and have the keys that they show first
    public      = true # the API server and etcd are reached by `host`
    overlay     = true # pods of different machines reach each other by a tunnel
  }
}

# The token is that of the environment: DIGITALOCEAN_TOKEN.
provider "digitalocean" {}

resource "digitalocean_tag" "run" {
  name = local.tag
}

resource "digitalocean_ssh_key" "run" {
  name       = local.label
  public_key = try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), "")
}

resource "digitalocean_vpc" "run" {
  name     = local.label
  region   = var.settings.region
  ip_range = var.settings.node_cidr
}

# It is there before any droplet that it concerns, and lets nothing else in. The private network passes through it, too: only what is
# TCP, UDP or ICMP, such as tunnels of VXLAN, but not IPIP.
resource "digitalocean_firewall" "run" {
  name = local.label
  tags = [digitalocean_tag.run.id]

  dynamic "inbound_rule" {
    for_each = toset(["22", "2379", "6443"])

    content {
      protocol         = "tcp"
      port_range       = inbound_rule.value
      source_addresses = var.settings.allowed_cidrs
    }
  }

  dynamic "inbound_rule" {
    for_each = { tcp = "1-65535", udp = "1-65535", icmp = null }

    content {
      protocol         = inbound_rule.key
      port_range       = inbound_rule.value
      source_addresses = [var.settings.node_cidr]
    }
  }

  dynamic "outbound_rule" {
    for_each = { tcp = "1-65535", udp = "1-65535", icmp = null }

    content {
      protocol              = outbound_rule.key
      port_range            = outbound_rule.value
      destination_addresses = ["0.0.0.0/0", "::/0"]
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}

resource "digitalocean_droplet" "node" {
  for_each   = { for node in var.nodes : node.name => node }
  depends_on = [digitalocean_firewall.run]

  name      = "${var.name}-${each.key}"
  region    = var.settings.region
  size      = var.settings.size
  image     = var.settings.image
  vpc_uuid  = digitalocean_vpc.run.id
  ssh_keys  = [digitalocean_ssh_key.run.id]
  tags      = [digitalocean_tag.run.id]
  user_data = try(file("${terraform_data.key.output.folder}/user-data"), "")

  lifecycle {
    ignore_changes = [ssh_keys, user_data] # what a droplet has been told at its first boot; the file is gone on other machines
  }
}
