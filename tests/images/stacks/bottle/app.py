import bottle


@bottle.route("/getconfig")
def getconfig():
    return bottle.static_file("config.json", root="/srv")


bottle.run(host="0.0.0.0", port=80)
