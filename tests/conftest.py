"""What all tests share."""

import os
import sys
from pathlib import Path

# The tests' tensors are tiny: a second thread only waits, and on a busy machine spins. Child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
