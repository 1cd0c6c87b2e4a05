"""Finished objects leave the node: durable in the outbox first, then to their destinations (edge)."""
