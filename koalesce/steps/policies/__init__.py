"""What the step `network-policy` is made of: the grid's pods, changes of policies and labels, looks at the wire, and what they add up to."""
