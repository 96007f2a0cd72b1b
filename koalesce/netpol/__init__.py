"""NetworkPolicies without a cluster: what they mean (`simulator`), where they are tried (`grid`), and what is tried (`upstream`, `generated`)."""
