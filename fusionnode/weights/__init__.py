"""Trained weights (middle): the files that come with the package, opened only when they are what their card says."""
