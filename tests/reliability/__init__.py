"""What docs/reliability.md promises: bad input, faults in training, numbers, and files."""
