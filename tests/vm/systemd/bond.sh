# bond.sh network|initramfs: from the next boot on the card is a bond's slave. It is made by the network's configuration; or before everything, and then no agent
# runs: the unit that applies has to find it alone.
set -e
units=/etc/systemd/system
mkdir -p $units/wire-up.service.d
cp /guest/bond.conf $units/wire-up.service.d/
if [ "$1" = initramfs ]; then
    mkdir -p $units/wire.service.d
    cp /guest/bond-early.conf $units/wire.service.d/
    rm $units/multi-user.target.wants/nodewall.service
fi
