import sqlite3
import sys

database = sqlite3.connect("app.sqlite3")
database.execute("create table if not exists answers (answer text)")
database.execute("insert into answers values (?)", [open("/srv/config.json").read()])
database.commit()
sys.argv = ["serve.py"]
exec(open("/app/serve.py").read())
