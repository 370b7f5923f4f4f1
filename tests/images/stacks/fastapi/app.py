import json

from fastapi import FastAPI

app = FastAPI()


@app.get("/getconfig")
def getconfig():
    return json.load(open("/srv/config.json"))
