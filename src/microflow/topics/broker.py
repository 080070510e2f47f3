"""A real single-node Kafka broker (KRaft) for tests and a laptop; ``KAFKA_BOOTSTRAP_SERVERS`` names a real cluster.

Its data lives in a folder of the caller's. What was acknowledged is with the operating system, as by Kafka's own
defaults: a process that is killed and started again on the same folder has lost nothing of it. A machine that loses
power may; a cluster guards against that by replicas, which a single node does not have.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Self

from microflow.errors import SetupError
from microflow.jvm import free_ports, start_java

__all__ = ["Broker"]

#: How long a broker may take to answer, in seconds.
PATIENCE_S = 60

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
log.dirs={folder}/log
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A killed consumer's partitions and transactions are taken over as soon as the client's own timeouts say so.
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
"""


class Broker:
    """Starts on entering, stops on leaving; `kill` and `start` again for the faults.

    Raises:
        SetupError: no Java, no jars, or no answer within a minute.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()  # where the broker runs, too
        self._port, self._controller = free_ports(2)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Bootstrap address for clients."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Format the folder on first use, start the broker, and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        if not properties.exists():
            settings = {"port": self._port, "controller": self._controller, "folder": self.folder}
            properties.write_text(_PROPERTIES.format(**settings), "utf-8")
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
            self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)).wait()
        self._process = self._java("kafka.Kafka", str(properties))
        self._await_answer()

    def kill(self) -> None:
        """SIGKILL: the process ends at once, and closes nothing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _java(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "broker.log").open("ab") as log:
            return start_java("kafka", ["-Xmx512m", main, *arguments], log, self.folder)

    def _await_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            time.sleep(0.1)
        self.kill()
        raise SetupError("the Kafka broker did not start", hint=f"see {self.folder / 'broker.log'}")

    def _end(self, sign: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait()
            self._process = None
