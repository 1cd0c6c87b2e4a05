"""Chapter slices (middle): volumes become stacks between 0 and 1, and stacks become pictures."""
