package Hydra::Event::EvalAdded;

# A stand-in for the host's parser, written for this test: it reads the payloads of September, which have 4 fields.

use strict;
use warnings;

sub parse { @_ == 4 or die "eval_added has 4 fields\n"; return [@_] }

1;
