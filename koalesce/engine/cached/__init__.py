"""Results that are used again: specs that passed, and of which nothing has changed since, need not run."""
