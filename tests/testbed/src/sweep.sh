# Removes what testbed $2 left under $1 and in the kernel. Its hosts need no
# sweeping: each one dies, with all that runs in it, when the pipe that its
# starter held closes. What they leave is waited for, at most 20 seconds.
root=$1 id=$2 name=muster-testbed-$2
for _ in $(seq 200); do
    busy=
    for group in $(find /sys/fs/cgroup -maxdepth 2 -type d -name "$name"); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -e "$group" ] || busy="$busy $group"
    done
    [ ! -e "/sys/class/net/mtb$id" ] || busy="$busy mtb$id"
    # The directory goes last: while it is there, somebody has to sweep.
    [ -n "$busy" ] || rm -rf "${root:?}/${id:?}" 2>/dev/null
    [ -e "$root/$id" ] || exit 0
    sleep 0.1
done
echo "testbed $id still holds $root/$id$busy" >&2
exit 1
