"""ZooKeeper for one run of Storm's ``LocalCluster``, on this machine's loopback address only.

``LocalCluster`` would start one in its own JVM, on every address of the machine and open to whoever asks; nothing in
Storm's settings says otherwise. It takes another that is already there (``storm.local.zookeeper``).
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import IO

from microflow.jvm.java import find_java
from microflow.jvm.maven import jars
from microflow.settings import child_environment

__all__ = ["LOOPBACK", "free_port", "start_zookeeper"]

LOOPBACK = "127.0.0.1"
_MAIN = "org.apache.storm.shade.org.apache.zookeeper.server.ZooKeeperServerMain"
_CONFIG = """\
dataDir={folder}
clientPort={port}
clientPortAddress={address}
admin.enableServer=false
tickTime=2000
maxClientCnxns=0
"""


def start_zookeeper(folder: Path, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A server without any past; clients that come before it listens try again.

    Args:
        folder: New; holds its data.
        port: Where it will listen.
        log: Where its words go.
    """
    folder.mkdir()
    config = folder / "zoo.cfg"
    config.write_text(_CONFIG.format(folder=folder, port=port, address=LOOPBACK), "utf-8")
    classpath = os.pathsep.join(str(jar) for jar in jars("storm"))
    options = ["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return subprocess.Popen(
        [str(find_java()), *options, "-cp", classpath, _MAIN, str(config)],
        stdout=log,
        stderr=log,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        env=child_environment(),
    )


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
