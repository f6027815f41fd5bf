"""LunarLander-v3 in JAX: its environment, and the physics of Box2D that it needs."""
