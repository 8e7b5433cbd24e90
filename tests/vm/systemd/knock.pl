# knock.pl SOURCE PORT...: connects to each port from the source, in turn and without end; a line for each: "PORT reached" or "PORT not". With one port it
# tries once and says so by its exit code.
use strict; use warnings; use IO::Socket::INET;
my ($source, @ports) = @ARGV;
$| = 1;
sub knock {
    my $socket = IO::Socket::INET->new(
        PeerAddr => '10.77.0.1', PeerPort => $_[0], LocalAddr => $source, Proto => 'tcp', Timeout => 1);
    return defined $socket;
}
exit(knock($ports[0]) ? 0 : 1) if @ports == 1;
while (1) { print "$_ ", knock($_) ? "reached" : "not", "\n" for @ports }
