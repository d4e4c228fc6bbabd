"""``python -m regard``, which ``torchrun -m regard`` needs."""

from regard.cli.main import main

main()
