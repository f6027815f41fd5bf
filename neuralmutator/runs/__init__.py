"""Runs: configuration, folder, checkpoints, progress, playing champions."""
