"""Files that are complete or absent: atomic writes, checkpoints, locks and schema validation."""
