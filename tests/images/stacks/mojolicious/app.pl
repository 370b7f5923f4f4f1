use Mojolicious::Lite;
use Mojo::File 'path';
get '/getconfig' => sub { my $c = shift; $c->render(data => path('/srv/config.json')->slurp, format => 'json') };
app->start;
