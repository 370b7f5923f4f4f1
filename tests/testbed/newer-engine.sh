#!/bin/sh
# Unpacks the engine of Debian 13 for the tests, without installing it: Docker 26.1.5, with its containerd, its runc and
# the libraries that they need. A folder that this script has made is kept.
#
# usage: tests/testbed/newer-engine.sh FOLDER
set -eu
folder=$1
suite=trixie packages='docker.io containerd runc libseccomp2'
mark=$(cksum <"$0")
[ "$(cat "$folder/mark" 2>/dev/null)" != "$mark" ] || exit 0

. /etc/os-release
# This machine's own mirror, if it has Debian.
uri=
[ "$ID" != debian ] || uri=$(apt-get indextargets --format '$(URI) $(CODENAME)' 'Created-By: Packages' |
    sed -n "s|^\(https*://.*\)/dists/.* $VERSION_CODENAME\$|\1|p" | head -n 1)
uri=${uri:-http://deb.debian.org/debian}
# Older programs run with a newer C library, but not the other way round.
have=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)
! dpkg --compare-versions "$have" lt 2.41 || packages="$packages libc6"

mkdir -p "$(dirname "$folder")"
work=$(mktemp -d "$(cd "$(dirname "$folder")" && pwd)/newer-engine.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM
mkdir -p "$work/empty" "$work/lists/partial" "$work/archives/partial"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $uri $suite main" >"$work/sources.list"
: >"$work/status"
# A world of its own for apt: nothing of this machine's lists, packages and settings is touched.
apt() {
    apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty" \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$work/empty" \
        -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
        -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root "$@"
}
# shellcheck disable=SC2086 # a list of words
{ apt update && (cd "$work/archives" && apt download $packages); } >"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    echo "newer-engine.sh: apt could not fetch $packages (is debian-archive-keyring installed?)" >&2
    exit 1
}
for package in "$work"/archives/*.deb; do
    dpkg-deb --extract "$package" "$work/root"
done
rm -rf "$work/root/usr/share" "$folder"
mkdir "$work/done"
mv "$work/root/usr" "$work/done/usr"
echo "$mark" >"$work/done/mark"
# A folder at this path is complete.
mv "$work/done" "$folder"
