set -e
sed "s|@FILE@|$FILE|" /site.template >/etc/nginx/sites-enabled/default
exec nginx -g 'daemon off;'
