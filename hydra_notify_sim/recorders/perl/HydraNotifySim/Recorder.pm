package HydraNotifySim::Recorder;

# The recorder protocol, version 1 (docs/reference/recorder.md), for a dispatcher written in Perl: every call of a
# hook is sent to the harness, which says whether it returns or dies. Nothing but core modules.

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;
use Scalar::Util qw(blessed);

my $VERSION_SPOKEN = 1;
my $HELLO_SECONDS  = 30;

# Channel to the hook's name in Perl and the names of its arguments.
my %HOOKS = (
    build_queued          => [ 'buildQueued',         'build' ],
    build_started         => [ 'buildStarted',        'build' ],
    build_finished        => [ 'buildFinished',       'build',      'dependents' ],
    step_finished         => [ 'stepFinished',        'step',       'log_path' ],
    cached_build_finished => [ 'cachedBuildFinished', 'evaluation', 'build' ],
    cached_build_queued   => [ 'cachedBuildQueued',   'evaluation', 'build' ],
    eval_started          => [ 'evalStarted',         'trace_id',   'jobset' ],
    eval_failed           => [ 'evalFailed',          'trace_id',   'jobset', 'error_changed' ],
    eval_added            => [ 'evalAdded',           'trace_id',   'jobset', 'evaluation', 'error_changed' ],
    eval_cached           => [ 'evalCached',          'trace_id',   'jobset', 'evaluation' ],
);

# Columns that the protocol compares, which are whole numbers in the database and text in Perl.
my %NUMBER = map { $_ => 1 } qw(
    id finished buildstatus starttime stoptime notificationpendingsince build stepnr status jobset_id
);

# Version of the payloads to the fields of an eval_added.
my %PAYLOADS = (
    '2026-08' => [ '1.5.7', 1, 1 ],
    '2026-09' => [ '1.5.7', 1, 1, 0 ],
);

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;

# Make a package the recorder of a name: a plugin with new and isEnabled, and with the hooks that the harness hands it.
sub become {
    my ($package, $name) = @_;
    no strict 'refs';
    # Whatever else a host asks of its plugins, its own base class answers, if it has one.
    @{"${package}::ISA"} = grep { $_->can('new') } 'Hydra::Plugin';
    *{"${package}::isEnabled"} = sub { 1 };
    *{"${package}::new"} = sub {
        my $self = bless { recorder => $name, package => $package }, $package;
        my $hooks = _connect($self);
        for my $channel (@$hooks) {
            my ($method, @arguments) = @{ $HOOKS{$channel} };
            no warnings 'redefine';
            *{"${package}::${method}"} = sub { _call($_[0], $channel, \@arguments, @_[ 1 .. $#_ ]) };
        }
        return $self;
    };
    return;
}

sub _connect {
    my ($self) = @_;
    my $path = $ENV{HYDRA_NOTIFY_SIM_SOCKET}
        or die "HYDRA_NOTIFY_SIM_SOCKET is not set: this plugin works in a dispatcher that a harness has started\n";
    $self->{received} = '';
    $self->{calls}    = 0;
    $self->{socket}   = IO::Socket::UNIX->new(Peer => $path)
        or die "recorder $self->{recorder}: no harness answers at $path: $!\n";
    my @payloads = _payloads();
    _send($self, {
        hello     => $VERSION_SPOKEN,
        plugin    => $self->{recorder},
        pid       => $$ + 0,
        task_name => $self->{package},
        (@payloads ? (payloads => \@payloads) : ()),
    });
    IO::Select->new($self->{socket})->can_read($HELLO_SECONDS)
        or die "recorder $self->{recorder}: the harness did not answer within $HELLO_SECONDS seconds\n";
    my $answer = _receive($self);
    return $answer->{hooks} if $answer && $answer->{hooks};
    die "recorder $self->{recorder}: the harness refused it: " . (($answer && $answer->{error}) || 'it hung up') . "\n";
}

# The versions of the payloads that the host reads: its own parser of eval_added is tried, if it has one.
sub _payloads {
    my $parse = Hydra::Event::EvalAdded->can('parse') or return;
    return grep { my $version = $_; eval { $parse->(@{ $PAYLOADS{$version} }); 1 } } sort keys %PAYLOADS;
}

sub _call {
    my ($self, $channel, $names, @values) = @_;
    # Between two calls the harness has nothing to say: what can be read is the end of the connection.
    _connect($self) if IO::Select->new($self->{socket})->can_read(0);
    my %args;
    for my $index (0 .. $#$names) {
        # The last argument comes with newer payloads only.
        last if $index > $#values && $names->[$index] eq 'error_changed';
        $args{ $names->[$index] } = _plain($names->[$index], $values[$index]);
    }
    $self->{calls} += 1;
    _send($self, { call => $self->{calls}, hook => $channel, args => \%args });
    my $answer = _receive($self) or die "recorder $self->{recorder}: the harness is gone\n";
    return 1 if ($answer->{do} // '') eq 'return';
    die(($answer->{message} // $answer->{error} // 'the harness said neither return nor raise') . "\n");
}

# A row as an object, keyed by lower-case column name; dependents as a list of rows; whatever else is text or nothing.
sub _plain {
    my ($name, $value) = @_;
    return undef unless defined $value;
    return [ map { _plain('', $_) } @$value ] if ref $value eq 'ARRAY';
    if (blessed($value) && $value->can('get_columns')) {
        my %columns = $value->get_columns;
        my %row;
        for my $column (keys %columns) {
            my $key = lc $column;
            $row{$key} = _scalar($NUMBER{$key}, $columns{$column});
        }
        return \%row;
    }
    return _scalar($name eq 'error_changed', $value);
}

sub _scalar {
    my ($is_number, $value) = @_;
    return undef unless defined $value;
    return $is_number && $value =~ /\A-?[0-9]+\z/ ? $value + 0 : "$value";
}

sub _send {
    my ($self, $message) = @_;
    my $line = $JSON->encode($message) . "\n";
    local $SIG{PIPE} = 'IGNORE';
    while (length $line) {
        my $sent = syswrite $self->{socket}, $line;
        next if !defined $sent && $!{EINTR};
        die "recorder $self->{recorder}: the harness is gone: $!\n" unless defined $sent;
        substr $line, 0, $sent, '';
    }
    return;
}

# The next message, or nothing at the end of the connection.
sub _receive {
    my ($self) = @_;
    my $end;
    while (($end = index $self->{received}, "\n") < 0) {
        my $got = sysread $self->{socket}, $self->{received}, 65536, length $self->{received};
        next if !defined $got && $!{EINTR};
        return unless $got;
    }
    return $JSON->decode(substr $self->{received}, 0, $end + 1, '');
}

1;
