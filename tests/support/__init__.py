"""What several chapters' tests share: plain makers and writers, no fixtures."""
