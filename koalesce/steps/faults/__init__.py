"""What the step `chaos` is about."""
