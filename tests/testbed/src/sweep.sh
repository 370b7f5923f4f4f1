# Removes the files of testbed $2 under $1 and its leftovers in the kernel. The
# hosts need no sweeping: each dies with all its processes when the pipe to its
# starter closes. The script waits at most a minute until their leftovers go:
# on a machine that is busy, the end of a hundred containers takes long.
root=$1 id=$2 name=muster-testbed-$2
until=$(($(date +%s) + 60))
while [ "$(date +%s)" -lt "$until" ]; do
    busy=
    for group in $(find /sys/fs/cgroup -maxdepth 2 -type d -name "$name"); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -e "$group" ] || busy="$busy $group"
    done
    [ ! -e "/sys/class/net/mtb$id" ] || busy="$busy mtb$id"
    # The directory is removed last, because it tells the next testbed to sweep.
    [ -n "$busy" ] || rm -rf "${root:?}/${id:?}" 2>/dev/null
    [ -e "$root/$id" ] || exit 0
    sleep 0.1
done
echo "testbed $id still holds $root/$id$busy" >&2
exit 1
