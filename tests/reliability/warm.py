"""What the processes of fits.py are forked from: all is imported, compiled and has run once."""

import os

# Threads do not outlive a fork: neither those of OpenMP nor those that CUDA has autograd start.
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

from . import fits

for name in ("lenet", "dropout, batch norm, momentum", "online"):
    model, labels = fits.make(name)
    fits.found_in(model.fit(fits.X, labels))
