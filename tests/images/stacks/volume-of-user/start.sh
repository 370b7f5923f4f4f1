set -e
cp /srv/config.json /data/
exec python3 /app/serve.py 0.0.0.0 80 /data/config.json
