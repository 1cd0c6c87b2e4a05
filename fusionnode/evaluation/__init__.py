"""Evaluation (middle): how good a fused picture is, in figures; against guards that cannot be gamed; beside others."""
