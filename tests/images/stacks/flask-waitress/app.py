import json
from flask import Flask, jsonify

app = Flask(__name__)


@app.route("/getconfig")
def getconfig():
    return jsonify(json.load(open("/srv/config.json", encoding="utf-8")))
