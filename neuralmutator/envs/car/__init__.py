"""CarRacing-v3 in JAX: its environment, tracks, physics and pictures."""
