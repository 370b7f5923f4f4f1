bind "tcp://0.0.0.0:80"
pidfile "/app/puma.pid"
