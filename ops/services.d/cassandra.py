"""Cassandra, which speaks CQL as ScyllaDB does: the messages.

Up to three nodes, on 127.0.0.1 to 127.0.0.3 with the same ports, as a ring with fixed tokens, so that each may start without
asking the others for its share.
"""

import json

import packages
from cql import Connection, CqlError
from service import NotReady, Service

NODES_MAX = 3
HEAP = "1g"
HEAP_AT_FIRST = "256m"
DIRECT_MEMORY = "512m"

# What Cassandra reaches into, and Java 17 keeps closed.
EXPORTS = """
    java.base/jdk.internal.misc java.base/java.lang.ref java.management.rmi/com.sun.jmx.remote.internal.rmi
    java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql jdk.unsupported/sun.misc jdk.attach/sun.tools.attach
""".split()
OPENS = """
    java.base/java.lang java.base/java.lang.module java.base/java.lang.reflect java.base/java.util java.base/java.io
    java.base/java.nio java.base/sun.nio.ch java.base/jdk.internal.loader java.base/jdk.internal.ref
    java.base/jdk.internal.reflect java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar
    jdk.management/com.sun.management.internal java.rmi/sun.rmi.transport.tcp
""".split()

PROPERTIES = {
    "jdk.attach.allowAttachSelf": "true",
    "io.netty.tryReflectionSetAccessible": "true",
    "java.net.preferIPv4Stack": "true",
    "cassandra-foreground": "yes",
    # All nodes are here and start together: there is nobody to wait for.
    "cassandra.skip_wait_for_gossip_to_settle": "0",
    "cassandra.ring_delay_ms": "100",
    "cassandra.shutdown_announce_in_ms": "100",
    "cassandra.consistent.rangemovement": "false",
    # A pause of the machine is no reason to call a node dead.
    "cassandra.max_local_pause_in_ms": "30000",
}

SETTINGS = {
    "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
    "endpoint_snitch": "SimpleSnitch",
    "dynamic_snitch": False,
    "num_tokens": 1,
    # Acknowledged is on disk: `periodic` answers before, `group` adds its window to every conditional write.
    "commitlog_sync": "batch",
    "commitlog_total_space": "512MiB",
    # Tests drop many keyspaces, and each would leave a copy.
    "auto_snapshot": False,
    "concurrent_compactors": 1,
    # A test machine is slow at times. The server's own deadlines are shorter, and count.
    "read_request_timeout": "10s",
    "range_request_timeout": "20s",
    "write_request_timeout": "10s",
    "cas_contention_timeout": "5s",
    "request_timeout": "20s",
}


class Cassandra(Service):
    kind = "cassandra"
    executables = ("java",)
    port_names = ("client", "storage")

    def __init__(self, run, index=1):
        super().__init__(run, "cassandra" if index == 1 else f"cassandra-{index}", f"127.0.0.{index}")
        self.index = index

    @property
    def nodes(self):
        return self.run.nodes

    def hosts(self):
        # Drivers take the port of the node they know for all: it has to be free on each.
        return [f"127.0.0.{index}" for index in range(1, self.nodes + 1)]

    def choose_ports(self, fresh=False):
        if self.index == 1:
            super().choose_ports(fresh)
        else:
            self.state["ports"] = self.run.first_cassandra().state["ports"]

    def missing(self):
        names = [] if packages.java() else [f"openjdk-{packages.JAVA_VERSION}-jre-headless"]
        if not packages.cassandra_jars().is_dir() and not packages.shutil.which("mvn"):
            names.append("maven")
        return names

    def fetch(self):
        packages.fetch_cassandra()

    def prepare(self):
        (self.directory / "data").mkdir(exist_ok=True)
        self.write_settings(self.host, self.host)

    def write_settings(self, listen, answer):
        """Writes `cassandra.yaml`; JSON is YAML."""
        storage = self.port("storage")
        # A ring of equal shares.
        token = -(2**63) + 2**64 * (self.index - 1) // self.nodes
        seeds = ",".join(f"{host}:{storage}" for host in self.hosts())
        provider = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [{"seeds": seeds}]}
        settings = SETTINGS | {
            "cluster_name": self.cluster_name(),
            "initial_token": str(token),
            "auto_bootstrap": False,
            "seed_provider": [provider],
            "listen_address": listen,
            "rpc_address": answer,
            "storage_port": storage,
            "native_transport_port": self.port(),
        }
        if answer == "0.0.0.0":
            settings["broadcast_rpc_address"] = self.host
        place = "/var/lib/cassandra" if self.in_container else str(self.directory / "data")
        directories = {"commitlog_directory": "commitlog", "saved_caches_directory": "saved_caches"}
        directories |= {"hints_directory": "hints", "cdc_raw_directory": "cdc_raw"}
        settings |= {name: f"{place}/{directory}" for name, directory in directories.items()}
        settings["data_file_directories"] = [f"{place}/data"]
        (self.directory / "cassandra.yaml").write_text(json.dumps(settings, indent=1))

    def command(self):
        own = {
            "cassandra.config": f"file://{self.directory}/cassandra.yaml",
            "cassandra.storagedir": self.directory / "data",
            "cassandra.logdir": self.directory,
            "logback.configurationFile": packages.HERE / "logback.xml",
            "java.io.tmpdir": self.directory,
        }
        command = [packages.java(), f"-Xms{HEAP_AT_FIRST}", f"-Xmx{HEAP}", f"-XX:MaxDirectMemorySize={DIRECT_MEMORY}", "-Xss384k"]
        command += ["-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", "-XX:+PerfDisableSharedMem"]
        if self.run.fast_start:
            # Half the processor time of a start goes into the better of Java's two compilers.
            command.append("-XX:TieredStopAtLevel=1")
        command += [f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS]
        command += [f"--add-opens={name}=ALL-UNNAMED" for name in OPENS]
        command += [f"-D{name}={value}" for name, value in (PROPERTIES | own).items()]
        command += ["-cp", f"{packages.cassandra_jars()}/*", "org.apache.cassandra.service.CassandraDaemon"]
        return command, None

    def container(self):
        if self.nodes > 1:
            raise packages.Failure("several nodes of Cassandra run from packages only: install Java 17 and Maven")
        self.write_settings("127.0.0.1", "0.0.0.0")
        # Beside the image's own settings, which its start overwrites.
        own = {"cassandra.config": "file:///chinwag/cassandra.yaml"}
        own |= {name: value for name, value in PROPERTIES.items() if name.startswith("cassandra.")}
        options = " ".join(f"-D{name}={value}" for name, value in own.items())
        environment = [f"MAX_HEAP_SIZE={HEAP}", "HEAP_NEWSIZE=200M", f"JVM_EXTRA_OPTS={options}"]
        mounts = [f"{self.directory}/cassandra.yaml:/chinwag/cassandra.yaml:ro"]
        image = f"cassandra:{packages.CASSANDRA_VERSION}"
        return image, [], self.port(), self.port(), environment, mounts, "/var/lib/cassandra"

    def cluster_name(self):
        return f"chinwag-{self.run.name}-{self.run.password[:8]}"

    def check(self):
        """A handshake and a query; with several nodes, until each knows the others and all have one schema."""
        try:
            with Connection(self.host, self.port()) as connection:
                (name, version), *_ = connection.rows("SELECT cluster_name, schema_version FROM system.local")
                peers = connection.rows("SELECT schema_version FROM system.peers_v2")
        except (OSError, CqlError, ValueError) as error:
            raise NotReady(str(error)) from error
        if name.decode() != self.cluster_name():
            raise NotReady(f"another cluster answers there: {name.decode()}")
        if len(peers) != self.nodes - 1:
            raise NotReady(f"it knows {len(peers)} of {self.nodes - 1} other nodes")
        if any(peer != [version] for peer in peers):
            raise NotReady("the nodes haven't agreed on a schema yet")

    def variable(self):
        return "TEST_SCYLLA", self.address
