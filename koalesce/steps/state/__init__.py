"""What the kernel of a node says of itself: commands that ask, and readers of their answers."""
