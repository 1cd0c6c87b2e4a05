"""Training the fusion networks (edge): picture pairs in, checkpoints and weights out. A node never needs it."""
