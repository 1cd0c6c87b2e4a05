"""Edge: where a prepared pair waits between the prepare and the fuse step."""
