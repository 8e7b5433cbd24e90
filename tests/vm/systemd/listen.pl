# Listens on the ports that are named, takes every connection and closes it.
use strict; use warnings; use IO::Socket::INET; use IO::Select;
my $all = IO::Select->new(map { IO::Socket::INET->new(LocalPort => $_, Listen => 64, ReuseAddr => 1) or die "$_: $!" } @ARGV);
while (my @ready = $all->can_read) { $_->accept for @ready }
