"""The conductor: `train` and `rank` put the stages together; nothing else does."""
