"""Intake: an edge chapter. Bytes from the network become durable files in the spool; nothing else happens here."""
