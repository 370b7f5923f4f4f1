import json
from pathlib import Path

from flask import Flask, jsonify

app = Flask(__name__)
config = json.loads(Path(__file__).with_name("config.json").read_text(encoding="utf-8"))


@app.route("/getconfig")
def getconfig():
    return jsonify(config)
