"""What is done to nodes by those who run a cluster."""
