"""`python -m ids_daemon`: the same as the command `ids-daemon`."""

import sys

from ids_daemon.cli import main

if __name__ == "__main__":
    sys.exit(main())
