"""The practical: its modules are the notebook's cells, its walkthrough their order. It knows nothing of the rest."""
