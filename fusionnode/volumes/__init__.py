"""Chapter volumes (middle): the data sets of one series become one volume, or a refusal that says why not."""
