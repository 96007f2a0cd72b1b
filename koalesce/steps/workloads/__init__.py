"""What becomes of pods and of what makes them: readiness, rollouts, and what can no longer come."""
