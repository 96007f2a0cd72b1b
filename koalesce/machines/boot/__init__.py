"""What a machine is told when it boots for the first time, so that it can become a node: one description, in the form that its system takes."""
