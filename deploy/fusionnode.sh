#!/bin/sh
# Runs one command of fusionnode as the units in deploy/systemd do: as their user, with their environment and umask.
# Install it as /usr/local/bin/fusionnode; root runs it:  fusionnode jobs --site /etc/fusionnode/site.toml
# In a container (deploy/Containerfile) every process begins with it, as that user already.
set -eu
umask 0077
environment=/etc/fusionnode/environment
if [ -e "$environment" ]; then
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            [A-Za-z_]*=[\"\']*) echo "$environment: write values without quotes" >&2; exit 2 ;;
            [A-Za-z_]*=*) export "${line?}" ;;
        esac
    done < "$environment"
fi
[ "$(id -un)" != fusionnode ] || exec /opt/fusionnode/bin/fusionnode "$@"
exec runuser -u fusionnode -- /opt/fusionnode/bin/fusionnode "$@"
