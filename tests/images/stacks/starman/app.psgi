sub {
    open my $file, '<', '/srv/config.json' or die $!;
    local $/;
    return [200, ['Content-Type' => 'application/json'], [<$file>]];
};
