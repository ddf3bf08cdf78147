"""Training one network for one level: configuration, engines, evaluation, checkpoints."""
