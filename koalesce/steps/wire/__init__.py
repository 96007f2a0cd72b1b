"""What goes over the network: destinations, probes, answers, and what is expected of them."""
