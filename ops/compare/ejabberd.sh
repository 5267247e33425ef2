#!/bin/sh
# Runs Debian's ejabberd for a comparison, in the foreground until its standard input or a SIGTERM ends it:
#
#   ops/compare/ejabberd.sh DIRECTORY PORT
#   ops/compare/ejabberd.sh --installed      prints its version; fails with what to do if there is none
#
# XMPP over WebSocket (RFC 7395) at ws://127.0.0.1:PORT/xmpp, host `localhost`, rooms at conference.localhost. Every name gets in with
# any password. Configuration, database and log are in DIRECTORY, which must exist; nothing of the system's own ejabberd is read or
# changed. The Erlang VM isn't distributed, so it needs no epmd and no port but this one; it is this very process after `exec`.
set -eu

ebin=$(ls -d /usr/lib/*/ejabberd-*/ebin /usr/lib/erlang/lib/ejabberd-*/ebin 2>/dev/null | head -n 1)
if [ -z "$ebin" ] || ! command -v erl >/dev/null 2>&1; then
    echo "ejabberd isn't installed; as root: apt-get install --no-install-recommends ejabberd" >&2
    exit 3
fi
installed=${ebin%/ebin}
if [ "${1-}" = --installed ]; then
    echo "${installed##*/ejabberd-}"
    exit
fi

[ $# -eq 2 ] || { echo "usage: $0 DIRECTORY PORT, or $0 --installed" >&2; exit 2; }
directory=$(cd "$1" && pwd -P)
port=$2

mkdir -p "$directory/spool"
cat > "$directory/ejabberd.yml" <<YAML
hosts: [localhost]
loglevel: error
auth_method: anonymous
anonymous_protocol: login_anon
allow_multiple_connections: true
# A machine that is busy with thousands of others at once may need longer than the usual 30 s.
negotiation_timeout: 300
listen:
  - port: $port
    ip: 127.0.0.1
    backlog: 4096
    module: ejabberd_http
    request_handlers:
      /xmpp: ejabberd_http_ws
modules:
  mod_muc:
    host: conference.localhost
    history_size: 0
    max_users: 20000
    max_user_conferences: 100
    min_message_interval: 0
    min_presence_interval: 0
    default_room_options:
      max_users: 20000
      # Otherwise every join is told to everybody in the room: a million frames for a thousand of them.
      presence_broadcast: []
      allow_subscription: false
      logging: false
      mam: false
YAML

# The flags of Debian's ejabberdctl, but without a node name.
export EJABBERD_CONFIG_PATH="$directory/ejabberd.yml"
export EJABBERD_LOG_PATH="$directory/ejabberd.log"
export ERL_LIBS="${installed%/*}"
export ERL_MAX_PORTS=32000
export ERL_CRASH_DUMP_BYTES=0
export HOME="$directory"
cd "$directory"
# Ends with its standard input, so that it doesn't outlive who started it.
watch='Watch = fun Watch() -> case io:get_line("") of Line when is_list(Line) -> Watch(); _ -> init:stop() end end, spawn(Watch).'
exec erl -noshell +Bd +K true +P 250000 -mnesia dir "\"$directory/spool\"" -s ejabberd -eval "$watch"
