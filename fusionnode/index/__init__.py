"""Edge: what arrived, what was decided, what is to be done; the only chapter that knows SQL."""
