#!/usr/bin/env perl

# A stand-in for a dispatcher: loads every plugin that it finds along its path, prints who is enabled and which hooks
# each has, and then makes the calls that its standard input asks for, one a line: PACKAGE METHOD.

use strict;
use warnings;
use Hydra::Plugin;

package Row;
sub new         { my ($class, %columns) = @_; return bless {%columns}, $class }
sub get_columns { return %{ $_[0] } }

package main;

$| = 1;
my %found;
for my $path (@INC) {
    next if ref $path;
    for my $file (sort glob "$path/Hydra/Plugin/*.pm") {
        my ($name) = $file =~ m{([^/]+)\.pm\z};
        $found{"Hydra::Plugin::$name"} //= $file;
    }
}
my %plugins;
for my $package (sort keys %found) {
    eval "require $package; 1" or die $@;
    my $plugin = $package->new(db => undef, config => {}, plugins => []);
    next unless $plugin->isEnabled;
    $plugins{$package} = $plugin;
    my @hooks = grep { $plugin->can($_) } qw(
        buildQueued buildStarted buildFinished stepFinished cachedBuildFinished cachedBuildQueued
        evalStarted evalFailed evalAdded evalCached
    );
    print join(' ', $package, $plugin->ofTheHost eq 'the host answers' ? 'inherits' : 'alone', @hooks), "\n";
}
my $build     = Row->new(ID => '7', finished => '1', buildstatus => undef, nixname => "h\x{e9}llo-1", iscachedbuild => '0');
my $dependent = Row->new(id => '8', finished => '0');
my %arguments = (
    buildFinished => [ $build, [ $build, $dependent ] ],
    stepFinished  => [ Row->new(build => '7', stepnr => '2', status => '0'), undef ],
    evalAdded     => [ '12345.678.4242', Row->new(id => '3', project => 'p', name => '7'), Row->new(id => '9', jobset_id => '3') ],
);
while (my $line = <STDIN>) {
    my ($package, $method) = split ' ', $line;
    my $said = eval { $plugins{$package}->$method(@{ $arguments{$method} }); 'returned' } // "died: $@";
    chomp $said;
    print "$said\n";
}
