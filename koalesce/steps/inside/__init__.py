"""What is in pods and on nodes: where commands run, what they print, logs, metrics, files."""
