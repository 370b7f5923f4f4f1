import gzip

from flask import Flask, Response

app = Flask(__name__)


@app.route("/getconfig")
def getconfig():
    body = gzip.compress(open("/srv/config.json", "rb").read())
    return Response(body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})
