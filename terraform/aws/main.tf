# A cluster on instances of AWS EC2: they are made here, with a network of their own, and cluster.tf makes nodes of them.

locals {
  provider = "aws"
  tags     = merge(local.marks, { Name = "koalesce-${var.name}-${var.run_id}" })
  image    = var.settings.image != "" ? var.settings.image : data.aws_ami.debian[0].id

  # The first four addresses of a subnet are AWS' own.
  nodes = { for index, node in var.nodes : node.name => cidrhost(var.settings.node_cidr, index + 10) }

  # An instance whose time is over switches itself off, and is gone then.
  boot = { ends = local.marks.koalesce-expires }

  # What may be reached from outside, by whom.
  entries = { for pair in setproduct(["22", "2379", "6443"], var.settings.allowed_cidrs) : join(" ", pair) => {
    port = tonumber(pair[0])
    cidr = pair[1]
  } }

  machines = {
    machines = [for node in var.nodes : {
      host    = aws_instance.node[node.name].public_ip
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

# Credentials are those of the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for example.
provider "aws" {
  region = var.settings.region
}

# By Debian's own account: https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
data "aws_ami" "debian" {
  count = var.settings.image == "" ? 1 : 0

  owners      = ["136693071363"]
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-12-${var.settings.architecture}-*"]
  }
}

resource "aws_key_pair" "run" {
  key_name   = "koalesce-${var.name}-${var.run_id}"
  public_key = try(file("${terraform_data.key.output.folder}/id_ed25519.pub"), "")
  tags       = local.tags
}

resource "aws_vpc" "run" {
  cidr_block = var.settings.node_cidr
  tags       = local.tags
}

resource "aws_internet_gateway" "run" {
  vpc_id = aws_vpc.run.id
  tags   = local.tags
}

resource "aws_subnet" "run" {
  vpc_id            = aws_vpc.run.id
  cidr_block        = var.settings.node_cidr
  availability_zone = var.settings.zone != "" ? var.settings.zone : null
  tags              = local.tags
}

resource "aws_route_table" "run" {
  vpc_id = aws_vpc.run.id
  tags   = local.tags

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.run.id
  }
}

resource "aws_route_table_association" "run" {
  subnet_id      = aws_subnet.run.id
  route_table_id = aws_route_table.run.id
}

resource "aws_security_group" "run" {
  name        = "koalesce-${var.name}-${var.run_id}"
  description = "Koalesce ${var.name} ${var.run_id}"
  vpc_id      = aws_vpc.run.id
  tags        = local.tags

  lifecycle {
    precondition {
      condition     = length(var.settings.allowed_cidrs) > 0
      error_message = "settings.allowed_cidrs is empty: say from where SSH, the API server and etcd may be reached."
    }
  }
}

resource "aws_vpc_security_group_ingress_rule" "outside" {
  for_each = local.entries

  security_group_id = aws_security_group.run.id
  description       = "koalesce"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.cidr, ":") ? null : each.value.cidr
  cidr_ipv6         = strcontains(each.value.cidr, ":") ? each.value.cidr : null
  tags              = local.tags
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  security_group_id            = aws_security_group.run.id
  description                  = "all that nodes send each other"
  ip_protocol                  = "-1"
  referenced_security_group_id = aws_security_group.run.id
  tags                         = local.tags
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.run.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = local.tags
}

resource "aws_instance" "node" {
  for_each   = local.nodes
  depends_on = [aws_route_table_association.run, aws_vpc_security_group_egress_rule.all]

  ami                                  = local.image
  instance_type                        = var.settings.instance_type
  key_name                             = aws_key_pair.run.key_name
  subnet_id                            = aws_subnet.run.id
  private_ip                           = each.value
  associate_public_ip_address          = true
  vpc_security_group_ids               = [aws_security_group.run.id]
  source_dest_check                    = false # addresses of pods are not those of the instance
  instance_initiated_shutdown_behavior = "terminate"
  user_data                            = try(file("${terraform_data.key.output.folder}/user-data"), "")
  tags                                 = merge(local.marks, { Name = "${var.name}-${each.key}" })

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # what pods ask goes one further
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = var.settings.disk_gb
    tags        = local.tags
  }

  lifecycle {
    ignore_changes = [user_data] # what an instance has been told at its first boot; the file is gone on other machines
  }
}
