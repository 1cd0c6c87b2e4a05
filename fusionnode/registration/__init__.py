"""Registration (middle): two volumes into one frame, or a refusal with a reason."""
