"""Being written by the founder who wrote test_evolution.py; please leave it to him."""
