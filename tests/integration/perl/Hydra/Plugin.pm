package Hydra::Plugin;

# A stand-in for the host's base class, written for this test: what a plugin inherits from its host.

use strict;
use warnings;

sub new       { my ($class, %args) = @_; return bless {%args}, $class }
sub isEnabled { return 0 }
sub ofTheHost { return 'the host answers' }

1;
