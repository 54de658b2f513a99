# IO::Socket and IO::Select: a server for several clients in one process, by lines, and clients one after the other.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::INET;

my ($role, $port, $work, $count) = @ARGV;
$SIG{PIPE} = 'IGNORE';
if ($role eq 'server') {
    my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 50, ReuseAddr => 1)
        or die "listen: $!";
    my $set = IO::Select->new($listener);
    my %have;
    while (my @ready = $set->can_read) {
        for my $socket (@ready) {
            if ($socket == $listener) {
                my $new = $listener->accept or next;
                $new->autoflush(1);
                $set->add($new);
                $have{$new} = '';
                next;
            }
            my $got = sysread $socket, $have{$socket}, 65536, length $have{$socket};
            if (!$got) {
                $set->remove($socket);
                delete $have{$socket};
                $socket->close;
                next;
            }
            while ($have{$socket} =~ s/^([^\n]*)\n//) {
                print $socket sha256_hex($1), "\n";
            }
        }
    }
} else {
    for my $round (1 .. $count) {
        my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die "connect: $!";
        $socket->autoflush(1);
        for my $size (1, 100, 70000) {
            my $line = join '', map { chr(97 + int rand 26) } 1 .. $size;
            print $socket "$line\n";
            my $answer = <$socket>;
            die "round $round: wrong" unless defined $answer && $answer eq sha256_hex($line) . "\n";
        }
        shutdown $socket, 1;
        die "no end" if defined <$socket>;
        close $socket;
    }
}
