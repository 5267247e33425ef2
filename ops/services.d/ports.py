"""Ports that nobody else has.

They are taken from below the range from which the system serves outgoing connections, or a client of somebody else's could sit on
one between our look and the service's bind. Two runs that draw the same one at the same time are told apart by the bind: the
service that loses ends, and is started again on another (`Run.wait`).
"""

import pathlib
import random
import socket

FIRST = 10_240
EPHEMERAL = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def free(host, port):
    """Tells whether a service could listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As services do: connections of the last run that are about to vanish are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(hosts=("127.0.0.1",), taken=()):
    """Returns a port that is free on all of `hosts` and not among `taken`."""
    try:
        end = int(EPHEMERAL.read_text().split()[0])
    except OSError:
        end = 32_768
    # A machine may give nearly everything to clients; then there is no better place than theirs.
    if end - FIRST < 1_000:
        end = 65_536
    for _ in range(TRIES):
        port = random.randrange(FIRST, end)
        if port not in taken and all(free(host, port) for host in hosts):
            return port
    raise OSError(f"found no free port between {FIRST} and {end} in {TRIES} tries")
