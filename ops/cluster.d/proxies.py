"""HAProxy and nginx in front of the nodes: one address for each kind of listener.

A node that is about to stop says so in /health and keeps its sockets until they have moved: the proxies send it nobody new, and
cut nobody off.
"""

import os
import pwd
import resource
import shutil

KINDS = ("http", "messenger", "presence")
PACKAGES = {"haproxy": "haproxy", "nginx": "nginx-light"}
# The server pings every socket more often than that.
IDLE_S = 90
# Sockets that a proxy has besides those of clients and nodes.
FILES_KEPT = 200


def program(kind):
    """Returns where the proxy is (Debian keeps both in sbin, which isn't in everybody's PATH), or None."""
    return shutil.which(kind) or shutil.which(kind, path="/usr/sbin:/usr/local/sbin")


def sockets_max():
    """Returns how many clients fit: each takes two of the files that we may open."""
    return min(50_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - FILES_KEPT) // 2)


def haproxy(proxy, nodes):
    yield f"""global
    maxconn {sockets_max()}

defaults
    mode http
    timeout connect 2s
    timeout client {IDLE_S}s
    timeout server {IDLE_S}s
    timeout tunnel {IDLE_S}s
    timeout http-request 10s
    option forwardfor
    option redispatch
    retries 2
    balance leastconn

frontend stats
    bind {proxy["stats"]}
    stats enable
    stats uri /
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""
    for kind in KINDS:
        yield f"""
frontend {kind}
    bind {proxy[kind]}
    default_backend {kind}

backend {kind}
    option httpchk GET /health
    default-server inter 500ms fall 2 rise 1 check
"""
        for node in nodes:
            yield f"    server {node['name']} {node[kind]} port {node['http'].split(':')[1]}\n"


def nginx(proxy, nodes):
    yield f"""daemon off;
pid nginx.pid;
error_log stderr warn;
{f"user {pwd.getpwuid(0).pw_name};" if os.getuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile {resource.getrlimit(resource.RLIMIT_NOFILE)[1]};
worker_shutdown_timeout 1s;
events {{ worker_connections {sockets_max() * 2}; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    # No header without an upgrade, so that connections to the nodes are kept.
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_connect_timeout 2s;
    proxy_read_timeout {IDLE_S}s;
    proxy_send_timeout {IDLE_S}s;
    proxy_buffering off;
    # A node that stops refuses connections, or says 503.
    proxy_next_upstream error timeout http_503;
"""
    for kind in KINDS:
        servers = "".join(f" server {node[kind]} max_fails=1 fail_timeout=1s;" for node in nodes)
        yield f"    upstream {kind} {{ least_conn;{servers} keepalive 16; }}\n"
        yield f"    server {{ listen {proxy[kind]}; location / {{ proxy_pass http://{kind}; }} }}\n"
    yield "}\n"


def write(kind, proxy, nodes, directory):
    """Writes the proxy's settings; returns the command that runs it in the foreground, in `directory`."""
    file = directory / f"{kind}.conf"
    file.write_text("".join({"haproxy": haproxy, "nginx": nginx}[kind](proxy, nodes)))
    if kind == "haproxy":
        return [program(kind), "-f", file, "-db"]
    return [program(kind), "-p", directory, "-c", file, "-e", "stderr"]
