#!/usr/bin/env bash
# Runs the scaled-out form on one machine: Redis, PostgreSQL, listener, sweep and one worker per queue, each a process
# of its own, with everything they write below one folder. For trying it out and for the system tests; a hospital uses
# the units in deploy/systemd.
#
#   deploy/local-stack.sh up SITE STATE            start all
#   deploy/local-stack.sh start SITE STATE NAME    start one: redis postgres listen sweep prepare fuse send
#   deploy/local-stack.sh stop SITE STATE NAME     end one
#   deploy/local-stack.sh down SITE STATE          end all
#
# REDIS_PORT and POSTGRES_PORT choose the ports (16379, 15432). FUSIONNODE names the command (fusionnode).
set -euo pipefail

usage() { sed -n '2,12p' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
action=$1 site=$2 state=$3 name=${4:-}
redis_port=${REDIS_PORT:-16379} postgres_port=${POSTGRES_PORT:-15432}
fusionnode=${FUSIONNODE:-fusionnode}
mkdir -p "$state"
state=$(cd "$state" && pwd)
export FUSIONNODE_BROKER_URL="redis://127.0.0.1:$redis_port/0"
export FUSIONNODE_DATABASE_URL="postgresql+psycopg://fusionnode@127.0.0.1:$postgres_port/fusionnode"
everything=(redis postgres listen sweep prepare fuse send)

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

await() {  # await SECONDS COMMAND...: until it succeeds
    local tries=$(( $1 * 10 )); shift
    until "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "local-stack: gave up waiting for: $*" >&2; exit 1; }
        sleep 0.1
    done
}

launch() {  # launch NAME COMMAND...
    local one=$1; shift
    setsid "$@" >> "$state/$one.log" 2>&1 < /dev/null &
    echo $! > "$state/$one.pid"
}

start_postgres() {
    local bin data=$state/postgres
    bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    if [ ! -d "$data" ]; then
        mkdir -p "$data"
        [ "$(id -u)" -ne 0 ] || { chown postgres "$data"; chmod o+x "$state"; }
        as_postgres "$bin/initdb" --pgdata "$data" --username fusionnode --auth trust --encoding UTF8 > "$state/initdb.log"
    fi
    touch "$state/postgres.log"
    launch postgres env -C / $( [ "$(id -u)" -eq 0 ] && echo runuser -u postgres -- ) "$bin/postgres" -D "$data" \
        -c listen_addresses=127.0.0.1 -c port="$postgres_port" -c unix_socket_directories=
    await 30 "$bin/pg_isready" --host 127.0.0.1 --port "$postgres_port"
    "$bin/createdb" --host 127.0.0.1 --port "$postgres_port" --username fusionnode fusionnode 2> /dev/null || true
}

start_one() {
    case "$1" in
        redis)
            launch redis redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$state" --save '' --appendonly yes
            await 15 redis-cli -p "$redis_port" ping ;;
        postgres) start_postgres ;;
        listen | sweep)
            "$fusionnode" --quiet migrate --site "$site"
            launch "$1" "$fusionnode" "$1" --site "$site" ;;
        prepare | fuse | send) launch "$1" "$fusionnode" work --queue "$1" --site "$site" ;;
        *) usage ;;
    esac
}

is_running() {  # is_running PID: a process that ended but is not yet buried by its parent does not count
    grep -qs '^State:.[^Z]' "/proc/$1/status"
}

stop_one() {
    local file=$state/$1.pid pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    # The launched process leads a session of its own, so its children end with it. PostgreSQL takes SIGINT for "now".
    kill "$([ "$1" = postgres ] && echo -INT || echo -TERM)" -- "-$pid" 2> /dev/null || true
    for _ in $(seq 200); do is_running "$pid" || break; sleep 0.1; done
    kill -KILL -- "-$pid" 2> /dev/null || true
    rm -f "$file"
}

case "$action" in
    up)
        for one in "${everything[@]}"; do start_one "$one"; done
        for one in "${everything[@]}"; do
            is_running "$(cat "$state/$one.pid")" || { echo "local-stack: $one ended; see $state/$one.log" >&2; exit 1; }
        done ;;
    down)
        # Each takes some seconds to end what it is doing; what all of them need ends last.
        for one in send fuse prepare sweep listen; do stop_one "$one" & done
        wait
        for one in redis postgres; do stop_one "$one"; done ;;
    start) start_one "$name" ;;
    stop) stop_one "$name" ;;
    *) usage ;;
esac
