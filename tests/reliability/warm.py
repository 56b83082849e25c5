"""What the processes of fits.py are forked from: all is imported and has run once."""

import os
import warnings

# Threads do not outlive a fork: neither those of OpenMP nor those that CUDA has autograd start.
os.environ |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

from . import fits, models

warnings.simplefilter("error")  # as in the tests

for name in ("lenet, large samples", "dropout and early stopping", "online, drawn atoms"):
    model, data = fits.make(name)
    models.found_in(name, model.fit(*data))
