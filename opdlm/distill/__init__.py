"""Training: rollouts, states, divergence, update; exact resume."""
