package Hydra::Event::EvalAdded;

# A stand-in for the host's parser, written for this test: it reads the payloads of August, which have 3 fields.

use strict;
use warnings;

sub parse { @_ == 3 or die "eval_added has 3 fields\n"; return [@_] }

1;
