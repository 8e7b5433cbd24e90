# $1: how many versions will be left; 0 is removal. The node is opened, but not that of a host around a chroot.
[ "$1" -eq 0 ] || exit 0
. /usr/share/nodewall/package.sh
# In a chroot, too: it changes the chroot's files alone.
command -v systemctl >/dev/null && systemctl --no-reload disable nodewall.service nodewall-apply.service || :
if has_systemd; then
    systemctl stop nodewall.service nodewall-apply.service || :
fi
open_node
