output "contract" {
  description = "Number of the contract that this root keeps."
  value       = 1
}

output "nodes" {
  description = "Nodes: name, role, address and pod_cidr (the primary ones of addresses and pod_cidrs, which have one for each family), exec (argv prefix that runs a command on the node), logs (component to the argv that prints its log there), follows (component to the argv that, with a number of lines behind it, prints what comes after so many and what is added; what cat prints needs none), spare (kept aside until it is added)."
  value       = local.cluster.nodes
}

output "fixtures" {
  description = "Machines outside of the cluster: name, kind, program (that makes a router one), address (the primary one of addresses, which has one for each family), exec (argv prefix that runs a command there), logs (of what runs there, as for nodes)."
  value       = local.cluster.fixtures
}

output "kubeconfig_path" {
  description = "Kubeconfig of an administrator, usable from the machine that ran Terraform."
  value       = local.cluster.kubeconfig_path
}

output "api_endpoint" {
  description = "Address of the API server as the kubeconfig has it: https://host:port."
  value       = local.cluster.api_endpoint
}

output "capabilities" {
  description = "What the cluster can do, such as node-exec, ipvs, dual-stack."
  value       = local.cluster.capabilities
}

output "dns_ip" {
  description = "Address of the cluster DNS Service."
  value       = local.cluster.dns_ip
}

output "host_exec" {
  description = "Argv prefix that runs a command on this machine where the cluster's addresses can be reached; may be empty."
  value       = local.cluster.host_exec
}

output "cleanup" {
  description = "Argv of the command that removes everything of this cluster without Terraform's state."
  value       = { argv = concat(var.koalesce_command, ["sweep", "--provider", "digitalocean", "--run", var.run_id]) }
}
