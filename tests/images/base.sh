#!/bin/sh
# Makes the base of the test images: this machine's Debian or Ubuntu with ordinary web
# servers and languages, as a tar file. A file that this script has made is kept.
#
# The same without them is SLIM, the stand-in for debian:bookworm-slim, which no test pulls. It has the package
# ca-certificates besides, because a test's engine has no way to a mirror.
#
# usage, as root: tests/images/base.sh FILE SLIM
set -eu
file=$1 slim=$2
here=$(cd "$(dirname "$0")" && pwd)
mark=$(cat "$0" "$here/packages/package-lock.json" | cksum)
[ -e "$file" ] && [ -e "$slim" ] && [ "$(cat "$file.mark" 2>/dev/null)" = "$mark" ] && exit
rm -f "$file" "$slim"
mkdir -p "$(dirname "$file")"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

packages='apache2 binutils busybox caddy default-jre-headless dumb-init gosu gunicorn haproxy libapache2-mod-php libcap2-bin libmojolicious-perl
    lighttpd nginx-light node-express nodejs php-cli php-fpm puma python3-aiohttp python3-bottle
    python3-django python3-fastapi python3-flask python3-tornado python3-twisted python3-waitress redis-server
    ruby-sinatra ruby-webrick sqlite3 starman supervisor tini tomcat10 uvicorn uwsgi-core uwsgi-plugin-python3'

root=$(mktemp -d)
trap 'umount -l "$root/proc" "$root/sys" 2>/dev/null || :; rm -rf --one-file-system "$root"' EXIT
trap 'exit 143' INT TERM
. /etc/os-release
# The distribution's own archive, which needs no key but those that debootstrap puts there.
case "$ID" in
debian) usual=http://deb.debian.org/debian parts=main ;;
*) usual=http://archive.ubuntu.com/ubuntu parts='main universe' ;;
esac
uri=$(apt-get indextargets --format '$(URI) $(CODENAME)' 'Created-By: Packages' |
    sed -n "s|^\(http://.*\)/dists/.* $VERSION_CODENAME\$|\1|p" | head -n 1)
uri=${uri:-$usual}
eatmydata debootstrap --variant=minbase --include=ca-certificates "$VERSION_CODENAME" "$root" "$uri" >"$file.log" 2>&1 ||
    { tail -n 5 "$file.log" >&2; echo 'base.sh: debootstrap failed' >&2; exit 1; }
tar -C "$root" --one-file-system --exclude=./var/cache/apt/archives/* --exclude=./var/lib/apt/lists/* \
    --exclude=./usr/share/doc/* --exclude=./usr/share/locale/* --exclude=./usr/share/man/* -cf "$slim.part" .
mv "$slim.part" "$slim"
rm -rf "$root"/etc/apt/sources.list*
echo "deb $uri $VERSION_CODENAME $parts" >"$root/etc/apt/sources.list"
cp -r /etc/apt/apt.conf.d "$root/etc/apt/"
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Nothing is started by its installation, nothing is written to disk at once, and nobody reads the documents.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/locale/*\npath-exclude=/usr/share/man/*\n' \
    >"$root/etc/dpkg/dpkg.cfg.d/test-image"
# The Java package links its documents there.
mkdir -p "$root/usr/share/man/man1"
mount -t proc proc "$root/proc"
# shellcheck disable=SC2086 # a list of words
chroot "$root" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" && apt-get clean' apt $packages \
    >>"$file.log" 2>&1 || { tail -n 5 "$file.log" >&2; echo 'base.sh: apt-get failed' >&2; exit 1; }
# Packages of npm and PyPI, which this machine's own npm and pip fetch.
cp -r "$here/packages" "$root/opt/packages"
(cd "$root/opt/packages" && npm ci --no-audit --no-fund --loglevel=error) >>"$file.log" 2>&1 ||
    { tail -n 5 "$file.log" >&2; echo 'base.sh: npm ci failed' >&2; exit 1; }
python3 -m pip install --quiet --disable-pip-version-check --only-binary=:all: --target "$root/opt/pyinstaller" \
    pyinstaller==6.16.0 >>"$file.log" 2>&1 ||
    { tail -n 5 "$file.log" >&2; echo 'base.sh: pip install failed' >&2; exit 1; }
umount "$root/proc"
rm -rf "$root"/var/lib/apt/lists/* "$root"/usr/share/icons "$root"/usr/sbin/policy-rc.d
tar -C "$root" --one-file-system -cf "$file.part" .
mv "$file.part" "$file"
echo "$mark" >"$file.mark"
