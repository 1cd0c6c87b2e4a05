#!/usr/bin/env bash
# Installs the services that the system tests and the demo run against: Orthanc, DCMTK, dicom3tools, Redis and
# PostgreSQL, from the distribution's own packages. Debian and Ubuntu; needs root. Starts and enables nothing:
# the tests run their own throw-away instances.
#
# With --viewers also what `make screenshots` looks through: Orthanc's Web viewer plug-in and a headless Chromium.
set -euo pipefail

packages=(orthanc orthanc-dicomweb dcmtk dicom3tools redis-server postgresql faketime iproute2 systemd)
# What each package is wanted for; a package whose command is already there is not installed again.
declare -A commands=(
    [orthanc]=Orthanc [orthanc-dicomweb]=/usr/share/orthanc/plugins/libOrthancDicomWeb.so [dcmtk]=storescu
    [faketime]=faketime [iproute2]=ip [systemd]=systemd-analyze [dicom3tools]=dciodvfy [redis-server]=redis-server
    [postgresql]=/usr/lib/postgresql
    [orthanc-webviewer]=/usr/share/orthanc/plugins/libOrthancWebViewer.so
    [orthanc-gdcm]=/usr/share/orthanc/plugins/libOrthancGdcm.so [chromium]=chromium [chromium-driver]=chromedriver
)
if [ "${1:-}" = --viewers ]; then
    packages+=(orthanc-webviewer orthanc-gdcm chromium chromium-driver)
elif [ "$#" -gt 0 ]; then
    echo "services: unknown option $1; known is --viewers" >&2
    exit 2
fi

is_present() {
    case "$1" in
        /*) compgen -G "$1*" > /dev/null ;;
        *) PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" > /dev/null ;;
    esac
}

missing=()
for package in "${packages[@]}"; do
    is_present "${commands[$package]}" || missing+=("$package")
done
# The client alone does not make a server.
compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql)

if [ "${#missing[@]}" -eq 0 ]; then
    echo "services: all present"
    exit 0
fi
if ! command -v apt-get > /dev/null; then
    echo "services: missing ${missing[*]}; this script knows apt-get only, install them by hand" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "services: missing ${missing[*]}; run as root: sudo deploy/install-services.sh" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive
# A package that starts its daemon on installation would take ports that the tests want to choose themselves.
policy=/usr/sbin/policy-rc.d
made_policy=no
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
trap '[ "$made_policy" = no ] || rm -f "$policy"' EXIT

echo "services: installing ${missing[*]}"
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" > /dev/null
echo "services: installed"
