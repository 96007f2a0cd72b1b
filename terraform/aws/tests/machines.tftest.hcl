# What is made, without an account: `terraform init && terraform test` in this folder (Terraform 1.7 or OpenTofu 1.8).

mock_provider "aws" {}

override_resource {
  target = terraform_data.expiry
  values = { output = "20261123T140000Z" }
}

variables {
  name               = "dev"
  run_id             = "r-1"
  kubernetes_version = "1.37.2"
  koalesce_command   = ["true"]
  nodes              = [{ name = "control-plane", role = "control-plane" }, { name = "worker-1", role = "worker" }]
  settings           = { allowed_cidrs = ["192.0.2.0/24", "2001:db8::/32"], authorized_keys = ["ssh-ed25519 AAAA ci"] }
}

run "machines" {
  assert {
    condition     = length(aws_instance.node) == 2 && aws_instance.node["worker-1"].private_ip == "10.80.0.11"
    error_message = "there is not a machine for each node"
  }

  assert {
    condition = alltrue([
      for tags in concat(
        [for node in aws_instance.node : node.tags],
        [for node in aws_instance.node : node.root_block_device[0].tags],
        [for rule in aws_vpc_security_group_ingress_rule.outside : rule.tags],
        [
          aws_key_pair.run.tags, aws_vpc.run.tags, aws_internet_gateway.run.tags, aws_subnet.run.tags, aws_route_table.run.tags,
          aws_security_group.run.tags, aws_vpc_security_group_ingress_rule.nodes.tags, aws_vpc_security_group_egress_rule.all.tags,
        ],
      ) : tags["koalesce-run"] == "r-1" && tags["koalesce-cluster"] == "dev" && tags["koalesce-expires"] == "20261123T140000Z"
    ])
    error_message = "something has no marks"
  }

  assert {
    condition = toset([
      for rule in aws_vpc_security_group_ingress_rule.outside : "${rule.from_port}-${rule.to_port} ${coalesce(rule.cidr_ipv4, rule.cidr_ipv6)}"
      ]) == toset([
      "22-22 192.0.2.0/24", "2379-2379 192.0.2.0/24", "6443-6443 192.0.2.0/24",
      "22-22 2001:db8::/32", "2379-2379 2001:db8::/32", "6443-6443 2001:db8::/32",
    ])
    error_message = "the cluster is open to others than it should be"
  }

  assert {
    condition     = local.boot.ends == "20261123T140000Z" && aws_instance.node["worker-1"].instance_initiated_shutdown_behavior == "terminate"
    error_message = "an instance doesn't end by itself when its time is over"
  }

  assert {
    condition     = output.contract == 1 && length(output.cleanup.argv) > 0
    error_message = "the outputs aren't those of the contract"
  }
}

run "nobody_may_reach_it" {
  command = plan

  variables {
    settings = { allowed_cidrs = [] }
  }

  expect_failures = [aws_security_group.run]
}

run "several_control_planes_are_refused" {
  command = plan

  variables {
    nodes = [{ name = "a", role = "control-plane" }, { name = "b", role = "control-plane" }]
  }

  expect_failures = [terraform_data.guard]
}
