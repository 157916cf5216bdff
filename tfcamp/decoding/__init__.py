"""From a model's outputs to what it says, compiled and with static shapes."""
