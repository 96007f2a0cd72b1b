# A cluster on bare metal of Equinix, which was Packet before. The service ended on 30 June 2026: README.md says what to use instead.

locals {
  provider   = "equinix"
  label      = "koalesce-${var.name}-${var.run_id}-${local.marks.koalesce-expires}"
  public_key = trimspace(try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), ""))
  cidrs4     = [for cidr in var.settings.allowed_cidrs : cidr if !strcontains(cidr, ":")]
  cidrs6     = [for cidr in var.settings.allowed_cidrs : cidr if strcontains(cidr, ":")]

  # There is no firewall in front of these machines: each drops by itself what comes from others than may reach it, before it is
  # passed on to pods. nftables.service reads this at each boot.
  filter = <<-EOT
    table inet koalesce_access {
      set allowed4 {
        type ipv4_addr
        flags interval
        auto-merge
        elements = { ${join(", ", concat(["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], local.cidrs4))} }
      }
      set allowed6 {
        type ipv6_addr
        flags interval
        auto-merge
        elements = { ${join(", ", concat(["::1"], local.cidrs6))} }
      }
      chain entries {
        type filter hook prerouting priority -150; policy accept;
        iifname "lo" accept
        ct state established,related accept
        ip saddr @allowed4 accept
        ip6 saddr @allowed6 accept
        meta l4proto { icmp, ipv6-icmp } accept
        udp dport 68 accept
        drop
      }
    }
  EOT

  # What cloud-init does at a machine's first boot (https://docs.cloud-init.io/en/latest/reference/modules.html). Pods can read it from
  # the metadata service: it holds no secret.
  user_data = join("\n", ["#cloud-config", yamlencode({
    package_update      = true
    packages            = ["iproute2", "ipset", "iptables", "kmod", "nftables", "procps"]
    disable_root        = false
    ssh_authorized_keys = concat([local.public_key], var.settings.authorized_keys)
    write_files         = [{ path = "/etc/nftables.conf", permissions = "0600", content = local.filter }]
    runcmd              = [["systemctl", "enable", "--now", "nftables.service"]]
  })])

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
  user_data           = local.user_data
  tags                = [for name, value in local.marks : "${name}:${value}"]

  # The service ends a device by itself then.
  termination_time = replace(local.marks.koalesce-expires, "/^(....)(..)(..)T(..)(..)(..)Z$/", "$1-$2-$${3}T$4:$5:$${6}Z")

  lifecycle {
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
